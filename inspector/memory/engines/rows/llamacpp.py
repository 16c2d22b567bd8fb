"""llama.cpp as an engine: what it takes, and llama-server's command line."""

from __future__ import annotations

from inspector.errors import InspectorError
from inspector.memory.devices.placement import FIT_TARGET, numbered_by_speed, visible
from inspector.memory.engines.protocol import QUANT_HELP, Engine, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
    from inspector.memory.fit.records import Ask, Candidate, Choice
    from inspector.memory.fit.spaces import Space


_EXAMPLE = 11003


class LlamaCpp(Engine):
    """llama-server and llama-cli."""

    name = "llama.cpp"
    aliases = ("llamacpp", "llama-cpp")
    release = "b11434"
    rules = "inspector.memory.engines.llamacpp"
    kv_types = page_kv_types = ("f16", "q8_0", "q4_0")
    page_seqs = (0, 4)
    page_kv_pairs = (("q8_0", "q4_0"),)
    by_layer = True
    quantizer = "llama-quantize"
    converter = "convert_hf_to_gguf.py"
    verifier = "llama-fit-params"
    margin = FIT_TARGET
    context_step = 256  # llama.cpp pads contexts to as much
    on_cpu = True
    # fmt: off
    options = (
        Option("server", "flag", "llama-server's defaults: 4 sequences, one cache, last logits only.", ("--server",),
               argument=True, commands=("memory",)),  # in `fit` it is always so
        Option("repack", "choice", "Count the CPU's repacked weights.", ("--repack",),
               choices=("avx2", "avx512", "neon"), argument=True),
        Option("quant", "text", QUANT_HELP, ("--quant",), metavar="NAME", argument=True,
               commands=("memory",)),  # in `fit` it is a choice among several
        Option("cache_type_k_draft", "text", "Type of the draft's cached keys; default: f16.",
               ("-ctkd", "--cache-type-k-draft", "--spec-draft-type-k"), metavar="TYPE", argument=True),
        Option("cache_type_v_draft", "text", "Type of the draft's cached values; default: f16.",
               ("-ctvd", "--cache-type-v-draft", "--spec-draft-type-v"), metavar="TYPE", argument=True),
        Option("spec_type", "text", "How tokens are drafted, like draft-mtp; several with commas.",
               ("--spec-type",), metavar="TYPE", argument=True),
        Option("spec_draft_n_max", "number", "Tokens drafted at most; default: 3.", ("--spec-draft-n-max",),
               argument=True),
        Option("ctx_checkpoints", "number", "Checkpoints of the context a slot, with --server; default: 32.",
               ("-ctxcp", "--ctx-checkpoints", "--swa-checkpoints"), argument=True),
        Option("cache_ram", "number", "MiB of the prompt cache, with --server; -1: no limit; default: 8192.",
               ("-cram", "--cache-ram"), argument=True),
        Option("beside", "record", argument=True),
        Option("embeddings", "flag", "Embeddings are asked for as well.", ("--embeddings",)),
    )
    # fmt: on
    build = 0  # the one that was asked for, as `llama.cpp@BUILD`; 0: none was

    def at(self, release: str) -> LlamaCpp:
        """Another build's rules, by its number. Raises InspectorError for what is no number of a build."""
        digits = release.lower().removeprefix("b")
        if not (digits.isascii() and digits.isdecimal() and 0 < len(digits) < 8 and int(digits)):
            raise InspectorError(f"{self.name}@{release}: no build of llama.cpp", hint=f"-e {self.name}@{_EXAMPLE}")
        found = LlamaCpp()
        found.build = int(digits)
        found.name, found.release = f"{self.name}@{found.build}", f"b{found.build}"
        return found

    def loaded(self, facts: ModelFacts, arguments: Mapping[str, Any]) -> ModelFacts:
        """A GGUF: the file itself, or as converter and llama-quantize would write it (`quant`), as this build reads it.

        Facts that no config.json came with cannot be converted and stay as they are.
        """
        quant = arguments.get("quant")
        if facts.prediction is None and (quant or not (facts.format == "gguf" or facts.keys is None)):
            from inspector.memory.predicted import as_gguf

            facts = as_gguf(facts, quant)
        if not self.build:
            return facts
        from inspector.memory.engines.llamacpp.builds import read_by

        return read_by(facts, self.build)

    def run(self, facts: ModelFacts, workload: Workload, *, quant: str | None = None, **arguments: Any) -> Estimate:
        """By llama.cpp's rules, of the file that there is or would be."""
        from inspector.memory.engines.llamacpp.beside import beside_of

        facts = self.loaded(facts, {"quant": quant})
        beside = beside_of(arguments)
        result = super().run(facts, workload, beside=beside, **arguments)
        if self.build:
            from inspector.memory.engines.llamacpp.builds import said_of

            result = said_of(result, facts, self.build)
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

    def on_card(self, gpu: Gpu) -> tuple[Hashable, int]:
        """The back end and cuBLAS's workspace; the driver's context is each card's own."""
        from inspector.memory.engines.llamacpp.backends.pools import workspace

        return (gpu.backend, workspace(gpu.compute_capability)), gpu.context

    def range_on_card(self, gpu: Gpu) -> int:
        """The driver's context."""
        return gpu.context - gpu.context_low

    def many(self, facts: ModelFacts, memo: dict[Any, Any]) -> Callable[[Workload, Placement], Estimate]:
        """Its parts by themselves: one replay of the graph serves all quants."""
        from inspector.memory.tables.llamacpp import Quick

        loaded = self.loaded(facts, {})
        quick = Quick(loaded, memo)
        if not self.build:
            return quick
        from inspector.memory.engines.llamacpp.builds import said_of

        return lambda workload, placement: said_of(quick(workload, placement), loaded, self.build)

    def costly(self, facts: ModelFacts) -> bool:
        """Graphs of recurrent layers, and of several caches a layer, are long."""
        kinds = {type(c).__name__ for x in facts.layers for c in x.caches}
        return len(facts.tensors) > 600 or not kinds <= {"KVCache"}

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
        """`llama-server …`; a repository's own projector is not asked for, as it is not counted."""
        c = choice.candidate
        named = [word for option, name in _named(choice) for word in _beside_word(option, name)]
        alone = ["--no-mmproj"] if c.hub and "--mmproj" not in named else []
        return ["llama-server", *model_words(c), *alone, *named, *_settings(choice), *self._spoken(choice)]

    def _spoken(self, choice: Choice) -> list[str]:
        """Settings of drafts and of what grows, which llama-server and we call by the same names."""
        names = {"cache_type_k_draft", "cache_type_v_draft", "spec_type", "spec_draft_n_max", "ctx_checkpoints",
                 "cache_ram"}  # fmt: skip
        return self.words({k: v for k, v in choice.arguments.items() if k in names})

    def memory_words(self, choice: Choice) -> list[str]:
        """As llama-server runs it."""
        # another engine is a checkpoint's default, and this one's build is nobody's
        named = ["-e", self.name] if choice.candidate.source or self.build else []
        settings = [*_settings(choice), *self.words({"repack": choice.arguments.get("repack")}), *self._spoken(choice)]
        beside = [word for option, name in _named(choice) for word in (f"--{option}", name)]
        return [*named, "--server", "--outputs", choice.workload.outputs, *beside, *settings]


def _named(choice: Choice) -> tuple[tuple[str, str], ...]:
    """The files beside the model, as they were asked for."""
    beside = choice.arguments.get("beside")
    return () if beside is None else beside.named


def _beside_word(option: str, name: str) -> tuple[str, str]:
    """Under llama-server's names; a draft may be a repository's."""
    import os

    if option == "draft":
        return ("-md" if os.path.exists(name) else "-hfd"), name
    return f"--{option}", name


def model_words(candidate: Candidate) -> list[str]:
    """Where the model is, in the one form that -hf takes: user/model[:quant] (common_download_split_repo_tag).

    A file of a repository is named apart; a revision cannot be, so that its file is loaded by its address.
    """
    from inspector.sources.target import parse_target

    if not candidate.hub:
        return ["-m", candidate.path]
    target = parse_target(candidate.hub)
    if not target.repo:
        return ["-mu", candidate.hub] if target.kind == "url" else ["-m", candidate.hub]
    file = target.file or (parse_target(candidate.path).file if target.revision else None)
    if target.revision and file:
        return ["-mu", f"https://huggingface.co/{target.repo}/resolve/{target.revision}/{file}"]
    if target.file:
        return ["-hf", target.repo, "--hf-file", target.file]
    return ["-hf", f"{target.repo}:{target.quant}" if target.quant else target.repo]


def _as_theirs(device: str) -> str:
    return "CPU" if device == "host" else device


def _settings(choice: Choice) -> list[str]:
    """Settings under the names that llama-server and `inspector memory` share."""
    w, p = choice.workload, choice.placement
    words = ["-c", str(w.n_ctx), "-ngl", str(p.n_gpu_layers)]
    words += [] if p.gpus else ["-dev", "none"]
    words += ["-sm", "none", "-mg", str(p.main_gpu)] if p.split_mode == "none" else []
    experts = ["-ncmoe", str(p.n_cpu_moe)] if p.n_cpu_moe else []
    patterns = [word for pattern, device in p.overrides for word in ("-ot", f"{pattern}={_as_theirs(device)}")]
    words += [*experts, *patterns] if p.experts_first else [*patterns, *experts]
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
