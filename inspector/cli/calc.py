"""`inspector calc`."""

from __future__ import annotations

from types import MappingProxyType

import click

from inspector.cli import outcome
from inspector.cli.answer import write_answer
from inspector.cli.options import json_option
from inspector.cli.values import COUNT as SEQUENCES
from inspector.cli.values import GPU, SIZE, TOKENS, Parsed, counted
from inspector.errors import InspectorError
from inspector.memory.engines.rows.textbook import KV_FORMS, OVERHEAD
from inspector.units import parse_count, parse_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts

COUNT = Parsed("count", parse_count)

# fmt: off
# name: params (exact, of the published checkpoints), layers, hidden, heads, KV heads, head dim
PRESETS: Final[Mapping[str, tuple[int, int, int, int, int, int]]] = MappingProxyType({
    "llama-2-7b":   (6_738_415_616,   32,  4096, 32, 32, 128),
    "llama-2-70b":  (68_976_648_192,  80,  8192, 64,  8, 128),
    "llama-3-8b":   (8_030_261_248,   32,  4096, 32,  8, 128),
    "llama-3.1-405b": (405_853_388_800, 126, 16384, 128, 8, 128),
    "mistral-7b":   (7_248_023_552,   32,  4096, 32,  8, 128),
    "mixtral-8x7b": (46_702_792_704,  32,  4096, 32,  8, 128),
    "qwen2.5-7b":   (7_615_616_512,   28,  3584, 28,  4, 128),
    "qwen3-8b":     (8_190_735_360,   36,  4096, 32,  8, 128),
})
# fmt: on


def _facts(name: str, params: dict[str, Any]) -> ModelFacts:
    """Facts typed by hand, filled from a preset where there is one."""
    from inspector.facts import ModelFacts

    preset = PRESETS.get(name)
    names = ("params", "layers", "hidden", "heads", "kv_heads", "head_dim")
    given = {k: params.pop(k) for k in names}
    if preset is not None:
        given = {k: v if v is not None else p for (k, v), p in zip(given.items(), preset, strict=True)}
    if given["params"] is None:
        raise click.UsageError("say how many parameters (--params 70B) or name a preset (--preset llama-2-70b)")
    heads = given["heads"]
    dim = given["head_dim"] or (given["hidden"] // heads if given["hidden"] and heads else None)
    hidden = given["hidden"] or (heads * dim if heads and dim else None)
    origin = dict.fromkeys(names, "typed by hand" if preset is None else f"preset {name}, or typed by hand")
    return ModelFacts(
        arch=name or "by hand", format="none", n_params=given["params"], n_params_active=None,
        n_layers=given["layers"], d_model=hidden, d_ff=None, n_heads=heads, n_kv_heads=given["kv_heads"] or heads,
        head_dim_k=dim, head_dim_v=dim, vocab_size=None, n_ctx_train=None, layers=(), origin=origin,
    )  # fmt: skip


def _default_form(facts: ModelFacts, kv_heads_given: bool) -> str:
    if kv_heads_given and facts.head_dim_k:
        return "gqa"
    return "heads" if facts.n_heads and facts.head_dim_k and not facts.d_model else "hidden"


@click.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), help="A published model's dimensions.")
@click.option("--params", type=COUNT, help="Parameters, like 70B.")
@click.option("--quant", default="FP16", show_default=True, help="Weight format: FP16, INT8, Q4_K_M, QLoRA, …")
@click.option("--nominal", is_flag=True, help="The bits people quote (Q4_K_M: 4.0) instead of the format's real ones.")
@click.option("--layers", type=click.IntRange(1, 100_000), help="Layers.")
@click.option("--hidden", type=counted(1, 1 << 24, parse_tokens), help="Hidden dimension (d_model).")
@click.option("--heads", type=click.IntRange(1, 1 << 20), help="Attention heads.")
@click.option("--kv-heads", type=click.IntRange(1, 1 << 20), help="KV heads (grouped-query attention).")
@click.option("--head-dim", type=click.IntRange(1, 1 << 20), help="Dimension of a head.")
@click.option("-c", "--ctx", "n_ctx", type=TOKENS, default="4096", show_default=True, help="Tokens of one sequence.")
@click.option("--batch", "-np", "n_seqs", type=SEQUENCES, default=1, show_default=True, help="Sequences.")
@click.option("--kv-dtype", default="f16", show_default=True, help="Cache precision: f32, f16, fp8, int8, q8_0, …")
@click.option("--kv-form", type=click.Choice(KV_FORMS[1:]), help="Form of the KV formula.")
@click.option("--constant-factor", type=SIZE, help="Simplified activations: bytes a token.")
@click.option("--overhead", type=SIZE, default=OVERHEAD, show_default=True, help="The constant term.")
@click.option("--gpu", "gpus", multiple=True, type=GPU, help="rtx4090, 2xrtx3090, 24G; exit code 1 if it does not fit.")
@click.option("-v", "--verbose", is_flag=True, help="How each figure comes about.")
@json_option
def calc(*, preset: str | None, as_json: bool, verbose: bool, gpus: tuple[str, ...], **params: Any) -> int:
    """The textbook formulas by hand, no file needed.

    \b
    Examples:
      inspector calc --params 70B --quant FP16 --layers 80 --hidden 8192 -c 4096 --batch 8
      inspector calc --preset llama-2-70b --quant Q4_K_M -c 8192 --batch 4 --gpu 80GB
    """
    from inspector.memory.engines import textbook
    from inspector.memory.estimate import Placement, Workload

    gqa = params["kv_heads"] is not None or preset is not None
    facts = _facts(preset or "", params)
    if facts.n_layers is None or facts.d_model is None:
        raise click.UsageError("say how many --layers and which --hidden dimension (or --heads and --head-dim)")
    form = params.pop("kv_form") or _default_form(facts, gqa)
    dtype = params.pop("kv_dtype")
    workload = Workload(n_ctx=params.pop("n_ctx"), n_seqs=params.pop("n_seqs"), kv_dtype_k=dtype, kv_dtype_v=dtype)
    placement = Placement()
    if gpus:
        from inspector.memory.devices.gpus import parse_gpus

        placement = Placement(gpus=parse_gpus(gpus))
    try:
        result = textbook.estimate(facts, workload, placement=placement, kv_form=form, **params)
    except InspectorError as error:
        raise click.UsageError(str(error) + (f" ({error.hint})" if error.hint else "")) from None
    name = preset or "by hand"
    if as_json:
        from inspector.report.memory import calc_json

        outcome.write_json(calc_json(name, facts, result))
    else:
        write_answer(name, facts, result, verbose=verbose)
    return outcome.NO if result.fits is False else outcome.OK
