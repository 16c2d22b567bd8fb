"""vLLM as an engine: what it takes, and `vllm serve`'s command line."""

from __future__ import annotations

from inspector.memory.engines.protocol import Engine, Option, common_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any, Final

    from inspector.memory.estimate import Gpu
    from inspector.memory.fit.records import Ask, Candidate, Choice
    from inspector.memory.fit.spaces import Space

UTILIZATION: Final = 0.92  # config/cache.py gpu_memory_utilization
DTYPE_HELP: Final = "Compute type: bfloat16, float16, float32."


class Vllm(Engine):
    """`vllm serve`."""

    name = "vllm"
    release = "0.33.0"
    rules = "inspector.memory.engines.vllm"
    kv_types = ("auto", "fp8")
    page_seqs = (0, 8, 32)
    # fmt: off
    options = (
        Option("gpu_memory_utilization", "share", "Share of the GPU that vLLM takes; default {default}.",
               ("--gpu-memory-utilization",), default=UTILIZATION, argument=True),
        Option("max_num_batched_tokens", "count", "Tokens of one step.", ("--max-num-batched-tokens",)),
        Option("block_size", "count", "Tokens of a cache block.", ("--block-size",)),
        Option("enforce_eager", "flag", "No CUDA graphs.", ("--enforce-eager",)),
        Option("disable_hybrid_kv_cache_manager", "flag", "Sliding layers count as full.",
               ("--disable-hybrid-kv-cache-manager",)),
        Option("dtype", "text", DTYPE_HELP, ("--dtype",), metavar="TYPE"),
        Option("max_num_seqs", "count", "The most sequences of one step: a ceiling of the scheduler, no demand.",
               ("--max-num-seqs",)),
        Option("pipeline_parallel_size", "count", "Stages, each with its share of the layers.",
               ("-pp", "--pipeline-parallel-size")),
        Option("data_parallel_size", "count", "Replicas, on GPUs of their own.", ("-dp", "--data-parallel-size")),
        Option("enable_expert_parallel", "flag", "Whole experts on each rank, in place of slices of all.",
               ("--enable-expert-parallel",)),
        Option("quantization", "text", "Weights packed on loading: fp8, of a checkpoint that is not packed.",
               ("--quantization",), metavar="METHOD"),
        Option("cpu_offload_gb", "real", "GiB of each GPU's weights that stay in host memory.",
               ("--cpu-offload-gb",)),
        Option("kv_cache_memory_bytes", "nbytes", "The cache of each GPU, in place of what a share of it leaves.",
               ("--kv-cache-memory-bytes",)),
        Option("mtp_tokens", "count", "Tokens predicted ahead by the model's own layers (method mtp).",
               ("--mtp-tokens",)),
        Option("speculative_config", "text", "What drafts, as vLLM's own JSON: method, model, num_speculative_tokens.",
               ("--speculative-config", "-sc"), metavar="JSON"),
        Option("draft", "record", argument=True),
        Option("prefix_caching", "flag"),
        Option("async_scheduling", "flag"),
        Option("mamba_ssm_cache_dtype", "text"),
        Option("encoder_tokens", "tokens"),
    )
    # fmt: on

    def on_card(self, gpu: Gpu) -> tuple[Hashable, int]:
        """The defaults that go by the card's size and name; what programs never see of it is each card's own."""
        from inspector.memory.engines.vllm.profile import tier

        blackwell = gpu.compute_capability.startswith("10.")  # captures more graphs
        return (*tier((gpu,)), gpu.backend, blackwell), gpu.reserve

    def range_on_card(self, gpu: Gpu) -> int:
        """What programs never see of it."""
        return 0 if gpu.reserve_low is None else gpu.reserve - gpu.reserve_low

    def space(self, candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:  # noqa: ARG002
        """Tensor parallelism, and more of each GPU as a last resort. Raises WorkloadError where vLLM would not run."""
        from inspector.errors import WorkloadError
        from inspector.memory.engines.vllm.support import why_not
        from inspector.memory.fit.vllm import VllmSpace

        if why := why_not(candidate.facts, ask.gpus):
            runs = "llama.cpp" if candidate.facts.format == "gguf" or "no class" not in why else "transformers"
            raise WorkloadError(why, hint=f"-e {runs} may run it")

        return VllmSpace(candidate, ask, utilization=UTILIZATION, estimate=self.estimate, kv_types=self.kv_types)

    def refuses(self, gpu: Gpu) -> str:
        """Cards that its release is not built for."""
        from inspector.memory.engines.vllm.support import card_refused

        return card_refused(gpu)

    def command(self, choice: Choice) -> list[str]:
        """`vllm serve …`."""
        return ["vllm", "serve", choice.candidate.hub or choice.candidate.path, *self._settings(choice)]

    def memory_words(self, choice: Choice) -> list[str]:
        """The same settings, and where the cache lies."""
        kv = [] if choice.placement.kv_offload else ["--no-kv-offload"]
        words = self._settings(choice, ceiling=False)
        return ["--engine", self.name, *words, *common_words(choice.workload), *kv]

    def _settings(self, choice: Choice, *, ceiling: bool = True) -> list[str]:
        """Settings under the names that vLLM and `inspector memory` share."""
        w, p = choice.workload, choice.placement
        words = ["--max-model-len", str(w.n_ctx)]
        words += ["--tensor-parallel-size", str(p.tensor_parallel)] if p.tensor_parallel > 1 else []
        words += ["--kv-cache-dtype", w.kv_dtype_k] if w.kv_dtype_k else []
        options = {**(w.options or {}), **choice.arguments}
        if w.n_seqs is not None and not (ceiling and options.get("max_num_seqs")):
            words += ["--max-num-seqs" if ceiling else "-np", str(w.n_seqs)]
        return words + self.words(options)


ENGINE: Final = Vllm()
