"""Writes inspector/architectures/loaders.txt: what llama.cpp's loaders read and create, taken from its source.

    python scripts/read_loaders.py LLAMA_CPP_FOLDER > inspector/architectures/loaders.txt

Every `load_arch_hparams` and `load_arch_tensors` of src/models/*.cpp, and what src/llama-model.cpp does for all, is
turned from C++ into lines of a small notation with Python's expressions: which keys are read, as what type, required or
not; which tensors, of which shapes, under which conditions. What only concerns the graph or the log is left out.
A construct that is not known stops the script: then it must learn it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from loader_notation import Function
from loader_words import Names, Unknown

# What every loader of tensors may use without declaring it (LLAMA_LOAD_LOCALS of llama-model.h).
LOCAL_VALUES = {
    "n_layer": "h.n_layer()", "n_layer_all": "h.n_layer_all", "n_layer_nextn": "h.n_layer_nextn",
    "n_head": "h.n_head()", "n_head_kv": "h.n_head_kv()", "n_embd": "h.n_embd", "n_embd_k_gqa": "h.n_embd_k_gqa()",
    "n_embd_v_gqa": "h.n_embd_v_gqa()", "n_embd_head_k": "h.n_embd_head_k()", "n_embd_head_v": "h.n_embd_head_v()",
    "n_ff": "h.n_ff()", "n_embd_gqa": "h.n_embd_v_gqa()", "n_vocab": "n_tokens", "n_token_types": "n_types",
    "n_rot": "h.n_rot()", "n_expert": "h.n_expert", "n_expert_used": "h.n_expert_used()",
    "n_ctx_train": "h.n_ctx_train",
}  # fmt: skip


def body_of(text: str, at: int) -> str:
    """What stands between the braces that open at or behind `at`."""
    start = text.index("{", at) + 1
    depth, i = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        i += 1
    return text[start : i - 1]


def function(names: Names, text: str, args: tuple[str, ...] = ()) -> list[str]:
    """The lines of one function's body."""
    lines = Function(names, text, args).whole()
    used = set(re.findall(r"\bn_\w+", "\n".join(lines)))
    values = [f"{name} = {value}" for name, value in LOCAL_VALUES.items() if name in used]
    return [x for line in lines for x in (values if line == "locals" else [line])]


def arch_sections(src: Path, names: Names) -> dict[tuple[str, str], list[str]]:
    """(class, "hparams" or "tensors") → lines, for every model class."""
    sections, faults = {}, []
    for path in sorted((src / "models").glob("*.cpp")):
        text = path.read_text()
        for found in re.finditer(r"void (llama_model_\w+)::load_arch_(hparams|tensors)\(", text):
            name = found[1].removeprefix("llama_model_")
            try:
                sections[name, found[2]] = function(names, body_of(text, text.index(")", found.end())))
            except (Unknown, IndexError, ValueError, KeyError) as error:
                faults.append(f"{path.name} {found[2]}: {type(error).__name__} {error}")
    if faults:
        raise SystemExit("\n".join(faults))
    return sections


def common_sections(src: Path, names: Names) -> dict[tuple[str, str], list[str]]:
    """What src/llama-model.cpp does for every architecture."""
    text = (src / "llama-model.cpp").read_text()

    def of(start: str) -> str:
        return body_of(text, text.index(")", text.index(start)))

    hparams = of("void llama_model_base::load_hparams(")
    hparams = hparams[hparams.index("ml.get_key(LLM_KV_CONTEXT_LENGTH") :]
    hparams = hparams.replace("load_arch_hparams(ml);", "own_hparams();")
    hparams = hparams[: hparams.index("pimpl->n_bytes")]
    tensors = of("bool llama_model_base::load_tensors(")
    tensors = tensors[tensors.index("const int64_t n_expert = hparams.n_expert;") :]
    tensors = tensors[: tensors.index("ml.done_getting_tensors();")].rstrip().removesuffix("}")
    tensors = tensors.replace("load_arch_tensors(ml);", "own_tensors();").replace("layers.resize(n_layer_all);", "")
    layers_all = "const int n_layer_all = hparams.n_layer_all; const int64_t n_expert = hparams.n_expert;"
    qkv, experts = of("void llama_model_base::create_tensor_qkv("), of("void llama_model_base::create_tensor_gate_up")
    qkv_args = ("layer", "bid", "n_embd_", "n_embd_q_", "n_embd_k_", "n_embd_v_", "flags")
    exps_args = ("layer", "bid", "n_embd_", "n_ff_", "n_expert_", "flags")
    return {
        ("*", "hparams"): function(names, hparams),
        ("*", "tensors"): function(names, tensors[: tensors.index("own_tensors();") + 14]),
        ("*", "scales"): function(names, layers_all + tensors[tensors.index("own_tensors();") + 14 :]),
        ("*", f"create_tensor_qkv({', '.join(qkv_args)})"): function(names, qkv, qkv_args),
        ("*", f"create_tensor_gate_up_exps({', '.join(exps_args)})"): function(names, experts, exps_args),
    }


def defaults(names: Names) -> list[str]:
    """First values of the hyperparameters, one a line."""
    lines = []
    for name, (_kind, array, first) in names.members.items():
        value = first.removesuffix("f") if re.match(r"-?[\d.]+f$", first) else first
        value = str(names.constants.get(value, value))
        plain = re.fullmatch(r"-?[\d.]+|true|false", value)
        if array:
            lines.append(f"{name} = Values([0]) * 512")
        elif plain:
            lines.append(f"{name} = {value.capitalize() if value in {'true', 'false'} else value}")
        else:
            lines.append(f"{name} = 0")
    return lines


def main() -> None:
    src = Path(sys.argv[1]) / "src"
    names = Names(src)
    sections = common_sections(src, names) | arch_sections(src, names)
    print("# Written by scripts/read_loaders.py from the source of llama.cpp b11434 (MIT licence, the ggml authors).")
    print("== * defaults")
    print("\n".join(defaults(names)))
    print("== * pre-tokenizers")
    vocab = (src / "llama-vocab.cpp").read_text()
    print("\n".join(sorted(set(re.findall(r'tokenizer_pre == "([^"]+)"', vocab)))))
    print("== * archs")
    for arch, made in names.classes.items():
        own = made
        while own and (own.removeprefix("llama_model_"), "tensors") not in sections:
            own = names.bases.get(own, "")
        keys = made
        while keys and (keys.removeprefix("llama_model_"), "hparams") not in sections:
            keys = names.bases.get(keys, "")
        print(names.archs[arch], keys.removeprefix("llama_model_"), own.removeprefix("llama_model_"))
    print("\n".join(sorted(set(names.archs.values()) - {names.archs[arch] for arch in names.classes})))
    for (name, part), lines in sections.items():
        print(f"== {name} {part}")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
