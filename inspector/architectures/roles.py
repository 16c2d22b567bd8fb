"""What a tensor is for, by its name: which layer it belongs to and which part of it."""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

# The first row any of whose pieces occurs in the name decides; both formats' vocabularies.
_ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "adapter": (".lora_a", ".lora_b", "lora_A", "lora_B"),
        "vision": ("vision_tower", "visual.", "vision_model", "v.blk.", "mm.", "vision_embed", "multi_modal"),
        "norm": ("norm", "ln_1", "ln_2", "ln_f", "layernorm", ".ln."),
        "expert": ("_exps", ".experts."),
        "router": ("ffn_gate_inp", ".router", "mlp.gate.weight", "block_sparse_moe.gate", "exp_probs_b"),
        "embedding": ("token_embd", "embed_tokens", ".wte", "word_embeddings", "position_embd", "wpe", "token_types",
                      "embeddings.", "per_layer_token_embd", "embed_in", "embed_positions"),
        "output": ("output.weight", "output.bias", "lm_head", "embed_out", "cls."),
        "recurrent": ("ssm_", ".mixer.", ".mamba", "linear_attn", "time_mix", "shortconv", ".conv.", "channel_mix"),
        "attention": ("attn", "attention", "q_proj", "k_proj", "v_proj", "o_proj", "indexer"),
        "mlp": ("ffn", "mlp", "feed_forward", ".fc1", ".fc2", "intermediate", "output.dense", "w1.", "w2.", "w3."),
    }
)  # fmt: skip
# `output.weight` is the head only at the top level; inside a block it is a projection.
_TOP_ONLY: Final = frozenset({"output"})


def layer_of(name: str) -> int | None:
    """The block a tensor belongs to: the first number between dots, or None outside the blocks."""
    for piece in name.split("."):
        if piece.isascii() and piece.isdigit() and len(piece) < 7:
            return int(piece)
    return None


def role_of(name: str) -> str:
    """attention, mlp, expert, router, norm, embedding, output, recurrent, vision, adapter or other."""
    inside = layer_of(name) is not None
    for role, pieces in _ROLES.items():
        if role in _TOP_ONLY and inside:
            continue
        if any(piece in name for piece in pieces):
            return role
    return "other"
