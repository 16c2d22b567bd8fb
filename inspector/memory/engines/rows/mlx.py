"""MLX on Apple GPUs as an engine: what it takes, and `mlx_lm.generate`'s and `mlx_lm.server`'s command lines."""

from __future__ import annotations

from inspector.memory.engines.protocol import Engine, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Final

    from inspector.memory.estimate import Gpu
    from inspector.memory.fit.records import Ask, Candidate, Choice
    from inspector.memory.fit.spaces import Space

PREFILL_STEP: Final = 2048  # generate.py DEFAULT_PREFILL_STEP_SIZE
QUANTIZED_START: Final = 5000  # generate.py DEFAULT_QUANTIZED_KV_START
GROUP_SIZE: Final = 64
BITS: Final = ("1", "2", "3", "4", "5", "6", "8")  # mlx.core.quantize


class Mlx(Engine):
    """`mlx_lm.generate`, and `mlx_lm.server` for several sequences at once."""

    name = "mlx"
    aliases = ("mlx-lm", "mlx_lm")
    release = "0.32.2"
    rules = "inspector.memory.engines.mlx"
    chart_kv_types = ("auto",)
    # fmt: off
    options = (
        Option("kv_bits", "choice", "Bits of cached keys and values; default: as they are.", ("--kv-bits",),
               choices=BITS),
        Option("kv_group_size", "count", "Elements that share a scale in a quantised cache; default {default}.",
               ("--kv-group-size",), default=GROUP_SIZE),
        Option("quantized_kv_start", "tokens", "Tokens from which on the cache is quantised; default {default}.",
               ("--quantized-kv-start",), default=QUANTIZED_START),
        Option("max_kv_size", "tokens", "The most tokens a cache keeps, in models that make no cache of their own.",
               ("--max-kv-size",)),
        Option("prefill_step_size", "count", "Tokens of the prompt in one pass; default {default}.",
               ("--prefill-step-size",), default=PREFILL_STEP),
        Option("n_prompt", "tokens"),
    )
    # fmt: on

    def space(self, candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:  # noqa: ARG002
        """The cache as it is, or quantised. Raises WorkloadError where mlx-lm would not run it."""
        from inspector.errors import WorkloadError
        from inspector.memory.engines.mlx.support import card_refused, why_not
        from inspector.memory.fit.mlx import MlxSpace

        if why := why_not(candidate.facts):
            runs = "llama.cpp" if candidate.facts.format == "gguf" else "transformers"
            raise WorkloadError(why, hint=f"-e {runs} may run it")
        if why := next((words for gpu in ask.gpus if (words := card_refused(gpu))), ""):
            raise WorkloadError(why, hint="--gpu takes an Apple chip with its memory, like 'M4 Max 64GB'")
        if len(ask.gpus) > 1:
            raise WorkloadError("mlx is answered for one GPU", hint="name one: --gpu 'M4 Max 64GB'")
        return MlxSpace(candidate, ask, estimate=self.estimate)

    def refuses(self, gpu: Gpu) -> str:
        """Cards that are not Apple's."""
        from inspector.memory.engines.mlx.support import card_refused

        return card_refused(gpu)

    def remarks(self, choices: Sequence[Choice], gpus: Sequence[Gpu]) -> Iterable[str]:  # noqa: ARG002
        """What no option of its says."""
        if not choices:
            return
        yield "mlx-lm has no option for the context: its cache grows with what it is given"
        if any((c.workload.n_seqs or 1) > 1 for c in choices):
            yield "mlx_lm.server also keeps the caches of finished prompts, 10 of them by default (--prompt-cache-size)"

    def command(self, choice: Choice) -> list[str]:
        """`mlx_lm.generate …`, or `mlx_lm.server …` for more than one sequence."""
        c, n = choice.candidate, choice.workload.n_seqs or 1
        words = ["mlx_lm.generate" if n == 1 else "mlx_lm.server", "--model", c.hub or c.path]
        words += ["--decode-concurrency", str(n), "--prompt-concurrency", str(min(n, 8))] if n > 1 else []
        return words + self.words({**(choice.workload.options or {}), **choice.arguments})


ENGINE: Final = Mlx()
