"""The tables of loaders.txt: what llama.cpp b11434 reads and creates for each architecture, ready to be followed.

A section is lines in a notation with Python's expressions; its verbs (`get_key`, `T`, `refuse`, …) are bound to one
file by loading.py. Only the sections that one architecture needs are made ready. scripts/read_loaders.py writes the
file from the engine's source.
"""

from __future__ import annotations

import os
import re
from functools import cache

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType
    from typing import Final

_TABLES: Final = os.path.join(os.path.dirname(__file__), "loaders.txt")
# What every loader of tensors may use without declaring it (LLAMA_LOAD_LOCALS of llama-model.h).
_LOCALS: Final = {
    "n_layer": "h.n_layer()", "n_layer_all": "h.n_layer_all", "n_layer_nextn": "h.n_layer_nextn",
    "n_head": "h.n_head()", "n_head_kv": "h.n_head_kv()", "n_embd": "h.n_embd", "n_embd_k_gqa": "h.n_embd_k_gqa()",
    "n_embd_v_gqa": "h.n_embd_v_gqa()", "n_embd_head_k": "h.n_embd_head_k()", "n_embd_head_v": "h.n_embd_head_v()",
    "n_ff": "h.n_ff()", "n_embd_gqa": "h.n_embd_v_gqa()", "n_vocab": "n_tokens", "n_token_types": "n_types",
    "n_rot": "h.n_rot()", "n_expert": "h.n_expert", "n_expert_used": "h.n_expert_used()",
    "n_ctx_train": "h.n_ctx_train",
}  # fmt: skip


class Loader(Record):
    """Whose tables an architecture uses: its keys', and its tensors'."""

    keys: str
    tensors: str


@cache
def sections() -> Mapping[str, str]:
    """All sections by heading ("llama tensors", "* archs")."""
    with open(_TABLES, encoding="utf-8") as file:
        parts = file.read().split("\n== ")[1:]
    return {head: body for head, _, body in (part.partition("\n") for part in parts)}


@cache
def loaders() -> Mapping[str, Loader]:
    """Which tables each architecture uses, by the name that `general.architecture` gives."""
    rows = (line.split() for line in sections()["* archs"].splitlines())
    return {row[0]: Loader(*row[1:]) for row in rows if len(row) == 3}


@cache
def names_without_loaders() -> frozenset[str]:
    """Architectures that the engine has a name for, and no code."""
    return frozenset(line for line in sections()["* archs"].splitlines() if line and " " not in line)


@cache
def pre_tokenizers() -> frozenset[str]:
    """The names that `tokenizer.ggml.pre` may have."""
    return frozenset(sections()["* pre-tokenizers"].splitlines())


@cache
def code_of(heading: str) -> CodeType:
    """One section as a function `section`, compiled. Raises KeyError where there is no such section."""
    name, _, part = heading.partition(" ")
    args = part[part.index("(") :] if "(" in part else "()"
    lines = ["pass"]
    for line in sections()[heading].splitlines():
        lines += _locals(sections()[heading]) if line.strip() == "locals" else [line]
    source = f"def section{args}:\n" + "\n".join("  " + line for line in lines) + "\n"
    return compile(source, f"<loaders.txt: {name} {part}>", "exec")


def _locals(body: str) -> list[str]:
    used = set(re.findall(r"\bn_\w+", body))
    return [f"{name} = {value}" for name, value in _LOCALS.items() if name in used]
