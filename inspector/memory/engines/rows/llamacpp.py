"""llama.cpp as an engine: what it takes, and llama-server's command line."""

from __future__ import annotations

from inspector.memory.devices.placement import FIT_TARGET, numbered_by_speed, visible
from inspector.memory.engines.protocol import QUANT_HELP, Engine, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
    from inspector.memory.fit.records import Ask, Candidate, Choice
    from inspector.memory.fit.spaces import Space


class LlamaCpp(Engine):
    """llama-server and llama-cli."""

    name = "llama.cpp"
    aliases = ("llamacpp", "llama-cpp")
    release = "b11434"
    rules = "inspector.memory.engines.llamacpp"
    kv_types = chart_kv_types = ("f16", "q8_0", "q4_0")
    quantizer = "llama-quantize"
    converter = "convert_hf_to_gguf.py"
    verifier = "llama-fit-params"
    margin = FIT_TARGET
    on_cpu = True
    # fmt: off
    options = (
        Option("server", "flag", "llama-server's defaults: 4 sequences, one cache, last logits only.", ("--server",),
               argument=True, commands=("memory",)),  # in `fit` it is always so
        Option("repack", "choice", "Count the CPU's repacked weights.", ("--repack",),
               choices=("avx2", "avx512", "neon"), argument=True),
        Option("quant", "text", QUANT_HELP, ("--quant",), metavar="NAME", argument=True,
               commands=("memory",)),  # in `fit` it is a choice among several
        Option("embeddings", "flag", "Embeddings are asked for as well.", ("--embeddings",)),
    )
    # fmt: on

    def loaded(self, facts: ModelFacts, arguments: Mapping[str, Any]) -> ModelFacts:
        """A GGUF: the file itself, or as converter and llama-quantize would write it (`quant`).

        Facts that no config.json came with cannot be converted and stay as they are.
        """
        quant = arguments.get("quant")
        if facts.prediction is not None or (not quant and (facts.format == "gguf" or facts.keys is None)):
            return facts
        from inspector.memory.predicted import as_gguf

        return as_gguf(facts, quant)

    def run(self, facts: ModelFacts, workload: Workload, *, quant: str | None = None, **arguments: Any) -> Estimate:
        """By llama.cpp's rules, of the file that there is or would be."""
        facts = self.loaded(facts, {"quant": quant})
        result = super().run(facts, workload, **arguments)
        if facts.prediction is None:
            return result
        from inspector.memory.predicted import as_prediction

        return as_prediction(result, facts.prediction)

    def layer_rows(
        self, facts: ModelFacts, workload: Workload, arguments: Mapping[str, Any], placement: Placement
    ) -> list[LayerRow]:
        """With the cells that llama.cpp allocates, padded as where they lie."""
        from inspector.memory.engines.llamacpp.cells import layer_rows

        return layer_rows(self.loaded(facts, arguments), workload, placement, server=bool(arguments.get("server")))

    def placed(self, placement: Placement) -> Placement:
        """Only the devices that `-dev`, `-sm` and `-mg` leave."""
        return visible(placement)

    def space(self, candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:
        """Layers and experts on devices or on the host, shared among devices."""
        from inspector.memory.fit.llamacpp import LlamaSpace

        return LlamaSpace(candidate, ask, memo, estimate=self.estimate, kv_types=self.kv_types)

    def served(self, workload: Workload) -> Workload:
        """llama-server asks for the last row of logits only, unless all were asked for by name, or embeddings."""
        options = workload.options or {}
        named = options.get("outputs_asked") or options.get("embeddings")
        return workload if named else workload.replace(outputs="last")

    def remarks(self, choices: Sequence[Choice], gpus: Sequence[Gpu]) -> Iterable[str]:
        """Which device a share of `-ts` means, where they are unlike: CUDA's own order is by speed."""
        shared = any(c.placement.tensor_split for c in choices)
        alone = any(c.placement.split_mode == "none" for c in choices)
        words = ["-ts"] * shared + ["-mg"] * alone
        if numbered_by_speed(gpus) and words:
            order, verb = ", ".join(gpu.name for gpu in gpus), "count" if len(words) > 1 else "counts"
            yield (
                f"{' and '.join(words)} {verb} the devices in this order: {order}. CUDA numbers the fastest first: "
                "compare `llama-server --list-devices`, and name them in the order above with -dev"
            )

    def command(self, choice: Choice) -> list[str]:
        """`llama-server …`."""
        c = choice.candidate
        return ["llama-server", "-hf" if c.hub else "-m", c.hub or c.path, *_settings(choice)]

    def memory_words(self, choice: Choice) -> list[str]:
        """As llama-server runs it."""
        named = ["-e", self.name] if choice.candidate.source else []  # another engine is a checkpoint's default
        settings = [*_settings(choice), *self.words({"repack": choice.arguments.get("repack")})]
        return [*named, "--server", "--outputs", choice.workload.outputs, *settings]


def _settings(choice: Choice) -> list[str]:
    """Settings under the names that llama-server and `inspector memory` share."""
    w, p = choice.workload, choice.placement
    words = ["-c", str(w.n_ctx), "-ngl", str(p.n_gpu_layers)]
    words += [] if p.gpus else ["-dev", "none"]
    words += ["-sm", "none", "-mg", str(p.main_gpu)] if p.split_mode == "none" else []
    words += ["-ncmoe", str(p.n_cpu_moe)] if p.n_cpu_moe else []
    words += ["-ts", ",".join(f"{x:g}" for x in p.tensor_split)] if p.tensor_split else []
    words += ["-ctk", w.kv_dtype_k] if w.kv_dtype_k not in {None, "f16"} else []
    words += ["-ctv", w.kv_dtype_v] if w.kv_dtype_v not in {None, "f16"} else []
    for flag, value in (("-np", w.n_seqs), ("-b", w.n_batch), ("-ub", w.n_ubatch)):
        words += [flag, str(value)] if value is not None else []
    words += {True: ["--kv-unified"], False: ["--no-kv-unified"], None: []}[w.kv_unified]
    if w.flash_attn is not None or choice.estimate.effective["flash_attn"]:  # else llama.cpp turns it off by itself
        words += ["-fa", "off" if w.flash_attn is False else "on"]
    words += ["--swa-full"] if w.swa_full else []
    words += ["--embeddings"] if (w.options or {}).get("embeddings") else []
    return words + ([] if p.kv_offload else ["--no-kv-offload"])


ENGINE: Final = LlamaCpp()
