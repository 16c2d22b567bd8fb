"""The tensors that a config.json promises: names as published files write them, shapes, and what each is for.

Read off the modules that transformers 5.24.0 builds (models/*/modeling_*.py). Routed experts appear one by one, as
published files keep them, although transformers 5 fuses them once loaded. What is tied is left out, as are buffers.
"""

from __future__ import annotations

from inspector.architectures.hf.record import FIRST_EXPERT, ExpectedTensor
from inspector.architectures.hf_blocks import (
    attention,
    dense_mlp,
    experts_of,
    mamba2,
    mla,
    norm,
    shared_mlp,
    shortconv,
)
from inspector.architectures.hf_caches import indexer_types
from inspector.architectures.hf_config import MAX_INT
from inspector.architectures.hf_experts import moe_layers
from inspector.architectures.hf_lookup import find
from inspector.architectures.hf_types import CONV, HYBRID, LINEAR, layer_types
from inspector.errors import FactsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.architectures.hf.record import Layout
    from inspector.architectures.hf_config import HfConfig

# Kimi K2 has 70,000 tensors, and every model under 10,000 kinds of them; a config that promises more is not answered.
MAX_TENSORS: Final = 80_000


def tensor_groups(k: HfConfig) -> tuple[ExpectedTensor, ...] | None:
    """The tensors of the language model, a layer's experts in one row each; None where this architecture has no rule.

    Names and shapes are those of published files (outermost first). Raises FactsError where a key is missing that a
    shape depends on.
    """
    record = find(k.model_type)
    if record is None or not (record.tensors or record.layout):
        return None
    try:
        found = record.tensors(k) if record.tensors else laid_out(k, record.layout) if record.layout else ()
        groups: list[ExpectedTensor] = []
        for t in found:
            groups.append(checked(t))
            if len(groups) > MAX_TENSORS:
                raise FactsError(f"config.json promises over {MAX_TENSORS:,} kinds of tensors")
    except (TypeError, ArithmeticError, AssertionError) as e:  # None or zero where a shape needs a count
        raise FactsError(f"config.json does not give all sizes of {k.model_type}") from e
    return tuple(groups)


def checked(t: ExpectedTensor) -> ExpectedTensor:
    """The tensor itself. Raises TypeError where a dimension is no count: nested keys come unchecked."""
    if not all(type(dim) is int and 0 <= dim <= MAX_INT for dim in (t.copies, *t.shape)):
        raise TypeError(t.name)
    return t


def expected_tensors(k: HfConfig) -> tuple[ExpectedTensor, ...] | None:
    """The same one by one. Raises FactsError, also where there are too many to list."""
    groups = tensor_groups(k)
    if groups is None:
        return None
    n = sum(t.copies for t in groups)
    if n > MAX_TENSORS:
        raise FactsError(f"config.json promises {n:,} tensors, more than are listed here")
    return tuple(one for t in groups for one in _each(t))


def _each(t: ExpectedTensor) -> Iterator[ExpectedTensor]:
    if t.copies == 1:
        yield t
        return
    before, _, after = t.name.rpartition(f"{FIRST_EXPERT}.")
    for j in range(t.copies):
        yield ExpectedTensor(f"{before}experts.{j}.{after}", t.shape, t.role)


def laid_out(k: HfConfig, layout: Layout) -> Iterator[ExpectedTensor]:
    """A decoder by its layout: embedding, layers, last norm, head."""
    hidden, vocab = k.need("hidden_size"), k.need("vocab_size")
    yield ExpectedTensor("model.embed_tokens.weight", (vocab, hidden), "embedding")
    n = k.n_layers
    kinds, _ = layer_types(k, n)
    moe = moe_layers(k, n)
    for i in range(n):
        yield from _layer(k, layout, i, kinds[i], routed=moe[i])
    if layout.final:
        yield from norm(layout.final or "model.norm", hidden, ln=layout.ln)
    if k.tied is False:
        yield ExpectedTensor("lm_head.weight", (vocab, hidden), "output")
        if layout.head_bias or (layout.head_bias_key and k.flag(layout.head_bias_key)):
            yield ExpectedTensor("lm_head.bias", (vocab,), "output")


def _layer(k: HfConfig, layout: Layout, i: int, kind: str, *, routed: bool) -> Iterator[ExpectedTensor]:
    hidden, at = k.need("hidden_size"), f"model.layers.{i}."
    norms = layout.norms
    if layout.parallel_key and k.flag(layout.parallel_key):
        norms = norms[:1]
    for name in norms:
        yield from norm(at + name, hidden, ln=layout.ln)
    yield from _mixer(k, layout, i, kind)
    if routed and layout.moe:
        yield from experts_of(k, layout, at)
    elif layout.mlp == "shared":
        yield from shared_mlp(k, at)  # dense models of the layout have the shared MLP alone
    else:
        yield from dense_mlp(k, layout, at + layout.mlp_at + ".", _dense_width(k, layout))


def _dense_width(k: HfConfig, layout: Layout) -> int:
    if layout.moe == "llama4":
        return k.count("intermediate_size_mlp") or k.need("intermediate_size")
    record = find(k.model_type)
    return (record.d_ff(k) if record and record.d_ff else None) or k.need("intermediate_size")


def _mixer(k: HfConfig, layout: Layout, i: int, kind: str) -> Iterator[ExpectedTensor]:
    """Attention, a state in its place (linear layers), or both side by side (hybrid ones)."""
    at = f"model.layers.{i}."
    if kind in (LINEAR, HYBRID):
        yield from (layout.mixer or mamba2)(k, at + layout.mixer_at)
    if kind == CONV:
        yield from shortconv(k, at + "conv.")
    elif kind != LINEAR and layout.mla:
        shares = layout.indexer and indexer_types(k, i) == "shared"  # another layer's indexer serves this one too
        yield from mla(k, layout.replace(indexer=False) if shares else layout, at + "self_attn.")
    elif kind != LINEAR:
        yield from attention(k, layout, at + "self_attn.")
