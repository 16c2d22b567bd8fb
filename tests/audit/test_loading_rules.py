"""GL: what llama.cpp b11434 refuses to load is one error, with the engine's own words; what it loads has none."""

from __future__ import annotations

import pytest
from audit_builder import audit, gguf_bytes, gguf_tensors, write
from gguf_builder import BOOL, F32, F64, I32, STR, U16, U32, U64, Arr, Tensor
from loading_rows import loading

WORDS = [f"t{i}" for i in range(32)]


def without(name):
    return [t for t in gguf_tensors() if t.name != name]


def shaped(name, dims):
    return [Tensor(t.name, dims, t.type) if t.name == name else t for t in gguf_tensors()]


BAD = {
    "block_count as u64": ("GL002", {"llama.block_count": (U64, 2)}, None, "key llama.block_count has wrong type u64"),
    "context_length as i32": ("GL002", {"llama.context_length": (I32, 64)}, None, "expected type u32"),
    "heads as u16": ("GL002", {"llama.attention.head_count": (U16, 4)}, None, "wrong type u16"),
    "epsilon as f64": ("GL002", {"llama.attention.layer_norm_rms_epsilon": (F64, 1e-5)}, None, "expected type f32"),
    "a special token as i32": ("GL002", {"tokenizer.ggml.bos_token_id": (I32, 1)}, None, "wrong type i32"),
    "add_bos as u32": ("GL002", {"tokenizer.ggml.add_bos_token": (U32, 1)}, None, "expected type bool"),
    "heads of one layer of two": ("GL003", {"llama.attention.head_count": (9, Arr(U32, [4]))}, None,
                                  "wrong array length; expected 2, got 1"),
    "no epsilon": ("GL001", {"llama.attention.layer_norm_rms_epsilon": None}, None, "key not found in model"),
    "no context length": ("GL001", {"llama.context_length": None}, None, "llama.context_length"),
    "experts that nobody uses": ("GL004", {"llama.expert_count": (U32, 4)}, None, "GGML_ASSERT(n_expert_used_max > 0)"),
    "no tokenizer": ("GL001", {"tokenizer.ggml.model": None}, None, "tokenizer.ggml.model"),
    "no tokens": ("GL005", {"tokenizer.ggml.tokens": None}, None, "cannot find tokenizer vocab"),
    "a tokenizer of nobody": ("GL005", {"tokenizer.ggml.model": (STR, "mine")}, None, "unknown tokenizer: 'mine'"),
    "no merges": ("GL005", {"tokenizer.ggml.model": (STR, "gpt2")}, None, "cannot find tokenizer merges"),
    "a token twice": ("GL005", {"tokenizer.ggml.tokens": (9, Arr(STR, [*WORDS[:31], "t0"]))}, None, "GGML_ASSERT"),
    "a tensor missing": ("GL006", {}, without("blk.1.attn_v.weight"), "tensor 'blk.1.attn_v.weight' not found"),
    "a norm missing": ("GL006", {}, without("output_norm.weight"), "tensor 'output_norm.weight' not found"),
    "a wrong shape": ("GL007", {}, shaped("blk.0.ffn_up.weight", (32, 96)), "has wrong shape; expected"),
    "more rows than tokens": ("GL007", {}, gguf_tensors(rows=64), "token_embd.weight' has wrong shape"),
    "one tensor too many": ("GL008", {}, [*gguf_tensors(), Tensor("blk.0.nobody.weight")], "expected 21, got 20"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_llama_cpp_refuses_is_one_error_with_its_own_words(tmp_path, case):
    code, changes, tensors, words = BAD[case]
    write(tmp_path, {"m.gguf": gguf_bytes(changes, tensors)})
    [finding] = audit(tmp_path / "m.gguf").findings
    assert (finding.code, finding.severity) == (code, "error")
    assert finding.hint.startswith("llama.cpp b11434 says: ")
    assert words in finding.hint


@pytest.mark.parametrize("n", [64, 65, 20_000])
def test_a_token_given_twice_is_found_in_a_vocabulary_of_any_length(tmp_path, n):
    words, each = [f"t{i}" for i in range(n)], {"tokenizer.ggml.scores": None, "tokenizer.ggml.token_type": None}
    for texts, expected in ((words, []), ([*words[:-1], "t7"], ["GL005"]), ([*words[:-2], "", ""], [])):
        tensors = [Tensor(t.name, (32, n), 0) if t.name == "token_embd.weight" else t for t in gguf_tensors(kind=0)]
        raw = gguf_bytes({"tokenizer.ggml.tokens": (9, Arr(STR, texts)), **each}, tensors)
        write(tmp_path, {"m.gguf": raw})
        assert [f.code for f in audit(tmp_path / "m.gguf").findings if f.code.startswith("GL")] == expected


GOOD = {
    "plain": ({}, None),
    "heads by layer": ({"llama.attention.head_count": (9, Arr(U32, [4, 4]))}, None),
    "its own output": ({}, [*gguf_tensors(), Tensor("output.weight", (32, 32))]),
    "biases": ({}, [*gguf_tensors(), Tensor("blk.0.attn_q.bias", (32,)), Tensor("blk.1.ffn_up.bias", (64,))]),
    "rope factors": ({}, [*gguf_tensors(), Tensor("rope_freqs.weight", (4,))]),
    "more scores than tokens": ({"tokenizer.ggml.scores": None}, None),
    "keys that nobody reads": ({"llama.of.nobody": (F32, 1.0), "other.block_count": (U64, 7)}, None),
    "a switch": ({"tokenizer.ggml.add_bos_token": (BOOL, 1)}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_llama_cpp_loads_has_no_finding(tmp_path, case):
    write(tmp_path, {"m.gguf": gguf_bytes(*GOOD[case])})
    assert audit(tmp_path / "m.gguf").findings == ()


def damaged(tmp_path, arch, *changes):
    header = loading.copy_of(next(h for _, h in loading.headers() if h.arch == arch))
    for change in changes:
        header.damage(change)
    header.write(str(tmp_path / "m.gguf"))
    return [(f.code, f.severity, f.where) for f in audit(tmp_path / "m.gguf", ignore=["FL016"]).findings]


@pytest.mark.parametrize("arch", ["qwen35", "qwen35moe"])
def test_a_block_for_further_tokens_that_is_counted_and_not_there(tmp_path, arch):
    assert damaged(tmp_path, arch) == []
    n = next(h for _, h in loading.headers() if h.arch == arch).keys[f"{arch}.block_count"][1]
    counted = [["set", f"{arch}.block_count", "u32", n + 1], ["set", f"{arch}.nextn_predict_layers", "u32", 1]]
    [(code, severity, where)] = damaged(tmp_path, arch, *counted)
    assert (code, severity) in {("GL006", "error"), ("GL003", "error")}
    assert where.startswith("m.gguf: ")


def test_rope_sections_of_three(tmp_path):
    sections = ["set", "qwen2vl.rope.dimension_sections", "arr[i32]", [16, 24, 24]]
    assert damaged(tmp_path, "qwen2vl", sections) == [
        ("GL003", "error", "m.gguf: qwen2vl.rope.dimension_sections")
    ]  # fmt: skip


def test_a_vision_tower_within_the_model_is_a_file_for_ollama(tmp_path):
    towers = [Tensor(f"v.blk.{i}.attn_q.weight", (32, 32)) for i in range(5)]
    write(tmp_path, {"m.gguf": gguf_bytes(tensors=[*gguf_tensors(), *towers])})
    [finding] = audit(tmp_path / "m.gguf").findings
    assert (finding.code, finding.severity) == ("GL008", "warning")
    assert "Ollama" in finding.message
    assert "expected 25, got 20" in finding.hint


def test_blocks_without_attention_and_feed_forward_are_a_layout(tmp_path):
    """Nemotron models that were pruned: deci with layers that keep one part, or none."""
    header = next(h for _, h in loading.headers() if h.arch == "deci")
    n = header.keys["deci.block_count"][1]
    heads = header.keys["deci.attention.head_count"][1]
    width = header.keys["deci.feed_forward_length"][1]
    heads, width = (list(x) if isinstance(x, tuple) else [x] * n for x in (heads, width))
    kv = header.keys["deci.attention.head_count_kv"][1]
    kv = list(kv) if isinstance(kv, tuple) else [kv] * n
    gone = [["lose", name] for name in header.tensors if name.startswith("blk.2.")]
    heads[2] = kv[2] = width[2] = 0
    keys = [
        ["set", "deci.attention.head_count", "arr[u32]", heads],
        ["set", "deci.attention.head_count_kv", "arr[u32]", kv],
        ["set", "deci.feed_forward_length", "arr[u32]", width],
    ]
    assert damaged(tmp_path, "deci", *keys, *gone) == []


@pytest.mark.parametrize("command", ["show", "memory"])
def test_show_and_memory_say_it_in_one_line(tmp_path, run_inspector, command):
    write(tmp_path, {"m.gguf": gguf_bytes({"llama.block_count": (U64, 2)}), "ok.gguf": gguf_bytes()})
    words = "llama.cpp b11434 would not load this: key llama.block_count has wrong type u64 but expected type u32"
    code, out, _ = run_inspector([command, tmp_path / "m.gguf"], env={"COLUMNS": "200"})
    assert code == 0
    assert words in out
    assert "would not load" not in run_inspector([command, tmp_path / "ok.gguf"])[1]


def test_a_vocabulary_alone_is_not_asked_for_tensors(tmp_path):
    write(tmp_path, {"vocab.gguf": gguf_bytes(tensors=[])})
    assert audit(tmp_path / "vocab.gguf").findings == ()
