"""SGLang as an engine: what it takes, and `sglang.launch_server`'s command line."""

from __future__ import annotations

from inspector.memory.engines.protocol import Engine, Option, common_words
from inspector.memory.engines.rows.vllm import DTYPE_HELP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.memory.estimate import Gpu
    from inspector.memory.fit.records import Ask, Candidate, Choice
    from inspector.memory.fit.spaces import Space


class Sglang(Engine):
    """`python3 -m sglang.launch_server`."""

    name = "sglang"
    aliases = ("sgl",)
    release = "0.5.23"
    rules = "inspector.memory.engines.sglang"
    kv_types = ("auto", "fp8")
    # fmt: off
    options = (
        Option("mem_fraction_static", "share", "Share of the GPU for weights and cache; default: by the card's size.",
               ("--mem-fraction-static",)),
        Option("chunked_prefill_size", "count", "Tokens of a prefill step; default: by the card's size.",
               ("--chunked-prefill-size",)),
        Option("cuda_graph_max_bs_decode", "count", "Sequences of the largest CUDA graph; default: by the card's size.",
               ("--cuda-graph-max-bs-decode",)),
        Option("max_running_requests", "count", "The most requests at once: a ceiling, no demand.",
               ("--max-running-requests",)),
        Option("disable_cuda_graph", "flag", "No CUDA graphs.", ("--disable-cuda-graph",)),
        Option("dtype", "text", DTYPE_HELP, ("--dtype",), metavar="TYPE"),
    )
    # fmt: on

    def space(self, candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:  # noqa: ARG002
        """As many GPUs as divide the heads. Raises WorkloadError where SGLang would not run."""
        from inspector.errors import WorkloadError
        from inspector.memory.engines.sglang.support import why_not
        from inspector.memory.fit.sglang import SglangSpace

        if why := why_not(candidate.facts, ask.gpus):
            raise WorkloadError(why, hint="-e vllm or -e transformers may run it")
        return SglangSpace(candidate, ask, estimate=self.estimate, kv_types=self.kv_types)

    def refuses(self, gpu: Gpu) -> str:
        """Cards that its release is not built for."""
        from inspector.memory.engines.sglang.support import card_refused

        return card_refused(gpu)

    def command(self, choice: Choice) -> list[str]:
        """`python3 -m sglang.launch_server …`."""
        w, p, c = choice.workload, choice.placement, choice.candidate
        words = ["python3", "-m", "sglang.launch_server", "--model-path", c.hub or c.path]
        words += ["--context-length", str(w.n_ctx)]
        words += ["--tp-size", str(p.tensor_parallel)] if p.tensor_parallel > 1 else []
        words += ["--kv-cache-dtype", "fp8_e4m3"] if w.kv_dtype_k == "fp8" else []
        words += ["--kv-cache-dtype", w.kv_dtype_k] if w.kv_dtype_k not in {None, "fp8"} else []
        options = {**(w.options or {}), **choice.arguments}
        if w.n_seqs is not None and not options.get("max_running_requests"):
            words += ["--max-running-requests", str(w.n_seqs)]
        return words + self.words(options)

    def memory_words(self, choice: Choice) -> list[str]:
        """The same settings in our words."""
        w, p = choice.workload, choice.placement
        words = ["--engine", self.name, "-c", str(w.n_ctx)]
        words += ["-np", str(w.n_seqs)] if w.n_seqs is not None else []
        words += ["-tp", str(p.tensor_parallel)] if p.tensor_parallel > 1 else []
        words += ["--kv-cache-dtype", w.kv_dtype_k] if w.kv_dtype_k else []
        return words + self.words({**(w.options or {}), **choice.arguments}) + common_words(w)


ENGINE: Final = Sglang()
