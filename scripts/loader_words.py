"""The words of llama.cpp's source, and the names it gives to keys, tensors and values: a part of read_loaders.py."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|\d+\.\d*(?:[eE][-+]?\d+)?f?|\d+(?:[eE][-+]?\d+)?(?:u|ull|f)?'
    r"|::|->|\+\+|--|<<|>>|[-+*/%&|=!<>]=|&&|\|\||[^\s\w]",
    re.DOTALL,
)
_TYPE_WORDS = """
    int long unsigned int32_t int64_t uint32_t uint64_t uint16_t size_t bool float double auto llama_token llm_tensor
    norm attn ggml_tensor
    """
TYPES = frozenset(_TYPE_WORDS.split())
STORED = {"uint32_t": "u32", "int32_t": "i32", "int": "i32", "float": "f32", "bool": "bool", "uint64_t": "u64",
          "std::string": "str", "llama_token": "i32", "enum llama_pooling_type": "u32"}  # fmt: skip
SILENT = ("LLAMA_LOG", "GGML_UNUSED", "GGML_ASSERT_UNUSED")
FLAGS = {"TENSOR_NOT_REQUIRED": "OPTIONAL", "TENSOR_DUPLICATED": "AGAIN", "TENSOR_SKIP": "UNUSED",
         "TENSOR_ALLOW_RESHAPE": "RESHAPED", "TENSOR_SKIP_IF_VIRTUAL": "0", "TENSOR_READ_LAZY": "0"}  # fmt: skip
READERS = frozenset({"get_key", "get_key_or_arr", "get_arr", "get_arr_n"})


# Functions with names of their own in the notation, and words that mean the same in it.
CALLS = {"create_tensor": "T", "tn": "", "format": "form", "load_swa_pattern": "load_swa_pattern"}
_SAME = ("ml", "layers", "arch_name", "create_tensor_qkv", "create_tensor_gate_up_exps")
KEPT = {"hparams": "h"} | {word: word for word in _SAME}


class Unknown(Exception):
    """C++ that this script has not learnt."""


class Names:
    """The names that the source gives to keys, tensors, architectures and constants."""

    def __init__(self, src: Path) -> None:
        arch = (src / "llama-arch.cpp").read_text()
        pairs = re.findall(r'\{\s*(LLM_(?:KV|TENSOR|ARCH)_\w+),\s*"([^"]*)"\s*\}', arch)
        self.names = dict(pairs)
        self.archs = {k: v for k, v in pairs if k.startswith("LLM_ARCH_")}
        model = (src / "llama-model.cpp").read_text()
        mapping = model[model.index("llama_model_mapping(") : model.index("llama_model * llama_model_create(llm_arch")]
        self.classes: dict[str, str] = {}
        waiting: list[str] = []
        for case, made in re.findall(r"case (LLM_ARCH_\w+):|new (llama_model_\w+)\(", mapping):
            if case:
                waiting.append(case)
            else:
                self.classes |= dict.fromkeys(waiting, made)
                waiting = []
        heads = (src / "llama-hparams.h").read_text() + (src.parent / "include" / "llama.h").read_text()
        self.constants = {k: int(v) for k, v in re.findall(r"(LLAMA_\w+)\s*=\s*(-?\d+),", heads)}
        self.constants |= {k: int(v) for k, v in re.findall(r"#define (LLAMA_MAX_\w+)\s+(\d+)", heads)}
        self.members = dict(hparam_members(heads))
        models_h = (src / "models" / "models.h").read_text() + (src / "llama-model.h").read_text()
        self.bases = dict(re.findall(r"struct (llama_model_\w+) : public (llama_model_\w+)", models_h))
        member = r"^\s+(uint32_t|int32_t|int|bool|std::vector<[\w:]+>)\s+(\w+)\s*(?:=[^;]*)?;"
        self.own = {name: kind for kind, name in re.findall(member, models_h, re.MULTILINE)}


def hparam_members(text: str) -> Iterator[tuple[str, tuple[str, int, str]]]:
    """Each member of llama_hparams: its type, the length of an array (0: none), its first value."""
    body = text[text.index("struct llama_hparams {") :]
    body = body[: body.index("\n};")]
    for kind, name, value in re.findall(
        r"^\s+((?:enum )?[\w:]+(?:<[^;=]*>)?)\s+(\w+)\s*(?:=\s*([^;]+))?;", body, re.MULTILINE
    ):
        array = re.match(r"std::array<(\w+),\s*(\w+)>", kind)
        bits = kind.startswith("std::bitset")
        yield name, (array[1] if array else kind, 1 if array or bits else 0, value.strip())


def tokens(text: str) -> list[str]:
    """The words of a piece of C++, comments left out."""
    return [t for t in TOKEN.findall(text) if not t.startswith(("//", "/*"))]


RESERVED = frozenset({"h", "v", "T", "ml", "arch"})
_LOCAL_WORDS = """
    n_layer n_layer_all n_layer_nextn n_head n_head_kv n_embd n_embd_k_gqa n_embd_v_gqa n_embd_head_k n_embd_head_v
    n_ff n_embd_gqa n_vocab n_token_types n_rot n_expert n_expert_used n_ctx_train
    """
LOCALS = frozenset(_LOCAL_WORDS.split())
