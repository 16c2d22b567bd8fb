"""`inspector quantize-size`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import json_option, open_target, target_argument
from inspector.cli.values import COUNT, Parsed
from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _pair(text: str) -> tuple[str, str]:
    pattern, equals, type_ = text.rpartition("=")
    if not equals or not pattern or not type_:
        raise InspectorError(f"{text!r} is not PATTERN=TYPE, like 'ffn_down=q6_k'")
    return pattern, type_


def _targets(words: tuple[str, ...]) -> list[str]:
    """The types asked for; commas separate as well as repeated options. An unknown one is a usage error."""
    import difflib

    from inspector.memory.quantize_size import COMMON, is_known
    from inspector.quantization.layouts import SCHEMES
    from inspector.quantization.mix_targets import QUANT_TARGETS

    names = [name for word in words for name in word.split(",") if name] or list(COMMON)
    for name in names:
        if not is_known(name):
            close = difflib.get_close_matches(name.upper(), QUANT_TARGETS, n=1) or difflib.get_close_matches(
                name.lower(), SCHEMES, n=1
            )
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join((*QUANT_TARGETS, *SCHEMES))}"
            raise click.UsageError(f"no type {name!r}{hint}")
    return names


@click.command("quantize-size")
@target_argument
@click.option(
    "--to", "to", multiple=True, metavar="TYPE", help="Q4_K_M, IQ3_M, Q8_0 …, nf4, gptq, awq, fp8, mxfp4; repeatable."
)
@click.option("--imatrix", is_flag=True, help="With an importance matrix.")
@click.option("--pure", is_flag=True, help="All tensors in the one type.")
@click.option("--output-tensor-type", metavar="TYPE", help="Type of the output tensor.")
@click.option("--token-embedding-type", metavar="TYPE", help="Type of the token embeddings.")
@click.option("--tensor-type", "tensor_types", multiple=True, type=Parsed("PATTERN=TYPE", _pair),
              help="Tensors that match get a type; repeatable.")  # fmt: skip
@click.option("--leave-output-tensor", "leave_output", is_flag=True, help="The output tensor stays as it is.")
@click.option("--lora-rank", type=COUNT, help="Also: bytes of a LoRA adapter of this rank (QLoRA).")
@click.option("--tensors", "show_tensors", is_flag=True, help="Every tensor with its type and bytes.")
@json_option
def quantize_size(
    target: str, *, to: tuple[str, ...], lora_rank: int | None, show_tensors: bool, as_json: bool, **options: Any
) -> int:
    """What a quantised file would weigh, tensor by tensor, by llama-quantize's own rules.

    \b
    Examples:
      inspector quantize-size model-f16.gguf
      inspector quantize-size ./Qwen3-8B/ --to Q4_K_M --to Q5_K_M --imatrix
      inspector quantize-size ./Qwen3-8B/ --to nf4 --lora-rank 16
    """
    from inspector.facts import read_facts
    from inspector.memory.quantize_size import adapter_nbytes, quantized_sizes
    from inspector.report import quantize_size as report

    names = _targets(to)
    facts = read_facts(open_target(target))
    results = quantized_sizes(facts, names, **options)
    adapter = adapter_nbytes(facts, lora_rank) if lora_rank else None
    if as_json:
        outcome.write_json(report.quantize_json(target, results, adapter))
    else:
        lines = report.quantize_lines(target, results, width=outcome.width(), tensors=show_tensors)
        if adapter is not None:
            lines.append(f"  a LoRA adapter of rank {lora_rank}: {adapter:,} B")
        outcome.write(lines)
    return outcome.NO if any(r.refused for r in results) else outcome.OK
