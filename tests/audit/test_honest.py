"""What is honest and is no plain model: named for what it is, and never more than an information."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from audit_builder import KEYS, audit, gguf_bytes, gguf_tensors, llama_folder, loud, write
from gguf_builder import ARR, BOOL, F32, I32, STR, U32, Arr, Tensor, build

from inspector.audit.registry import rules
from inspector.report.audit import sarif


def gguf(keys, tensors, **options):
    return build([(k, *v) for k, v in keys.items()], tensors, **options)


# --- single files of other formats -----------------------------------------------------------------------------------


def npy(path):
    np.save(path, np.zeros(3, "f4"))


def npz(path):
    with open(path, "wb") as file:
        np.savez(file, x=np.zeros(3, "f4"))


def zipped(path):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("notes/readme.txt", "hello")


SINGLE = {
    "a.npy": npy, "a.npz": npz, "a.zip": zipped, "a.jit": zipped,
    "a.onnx": lambda p: p.write_bytes(b"\x08\x07\x12\x04test:\x00"),
    "a.tflite": lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(99)),
    "LICENSE": lambda p: p.write_text("Apache License\n" * 40),
    "notes.txt": lambda p: p.write_text("hello\n"),
    "of.nobody": lambda p: p.write_bytes(bytes(range(256)) * 4),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_file_of_another_format_is_audited_or_named(tmp_path, name):
    SINGLE[name](tmp_path / name)
    report = audit(tmp_path / name)
    assert report.verdict == "pass"
    assert {f.code for f in report.findings} <= {"FL015"}
    assert all(f.severity == "info" and f.message.startswith("not audited: ") for f in report.findings)


def test_a_single_hdf5_file_is_audited(root):
    assert loud(audit(next(iter(sorted((root / "fixtures/hdf5").iterdir()))))) == []


@pytest.mark.parametrize("name", ["a.gguf", "a.safetensors", "a.npy", "a.onnx", "a.pt", "a.h5"])
def test_nothing_known_under_a_name_of_weights_is_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x77" * 1024)
    assert audit(tmp_path / name).verdict == "fail"


# --- GGUF files that are no language model ---------------------------------------------------------------------------

VISION = [Tensor("v.blk.0.attn_q.weight", (32, 32))]
OTHERS = {
    "a projector": ({"general.architecture": (STR, "clip"), "clip.has_vision_encoder": (BOOL, 1)}, VISION, "projector"),
    "a projector by type": ({"general.architecture": (STR, "clip"), "general.type": (STR, "mmproj")}, VISION,
                            "projector"),
    "a projector by its keys": ({"clip.has_vision_encoder": (BOOL, 1)}, VISION, "projector"),
    "an adapter": ({"general.architecture": (STR, "llama"), "adapter.type": (STR, "lora"),
                    "adapter.lora.alpha": (F32, 16.0)}, [Tensor("blk.0.attn_q.weight.lora_a", (32, 8))], "adapter"),
    "a control vector": ({"general.architecture": (STR, "controlvector"), "controlvector.layer_count": (I32, 2)},
                         [Tensor("direction.1", (32,))], "control vector"),
    "an importance matrix": ({"general.type": (STR, "imatrix"), "imatrix.chunk_count": (U32, 2),
                              "imatrix.datasets": (ARR, Arr(STR, ["wiki"]))},
                             [Tensor("blk.0.attn_q.weight.in_sum2", (32, 1))], "importance matrix"),
    "a diffusion model": ({"general.architecture": (STR, "flux")},
                          [Tensor("double_blocks.0.img_attn.qkv.weight", (32, 32))], "diffusion"),
    "a diffusion model without keys": ({}, [Tensor("double_blocks.0.img_attn.qkv.weight", (32, 32))], "diffusion"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_a_gguf_that_is_no_language_model_is_named_and_not_blamed(tmp_path, run_inspector, case):
    keys, tensors, word = OTHERS[case]
    write(tmp_path, {"m.gguf": gguf(keys, tensors)})
    assert loud(audit(tmp_path / "m.gguf")) == []
    code, out, _ = run_inspector(["show", tmp_path / "m.gguf"])
    assert code == 0
    assert word in " ".join(out.split())


def test_an_architecture_that_is_misspelt_is_still_a_warning(tmp_path):
    write(tmp_path, {"m.gguf": gguf_bytes({"general.architecture": (STR, "fluxx")})})
    assert [f.code for f in loud(audit(tmp_path / "m.gguf"))] == ["GM002"]


# --- types of forks --------------------------------------------------------------------------------------------------


def with_type(type_id, nbytes=4096):
    tensors = gguf_tensors()
    place, at = [], 0
    for t in tensors:
        own = t.name == "blk.1.ffn_up.weight"
        place.append(Tensor(t.name, t.dims, type_id if own else t.type, at))
        at += nbytes if own else -(-t.nbytes // 32) * 32
    return build([(k, *v) for k, v in KEYS.items()], place, data=bytes(at))


@pytest.mark.parametrize(("type_id", "words"), [
    (97, "Q8_0_X4"), (137, "IQ2_K"), (144, "IQ4_KS"), (158, "IQ1_KT"), (160, "a fork's type 160"), (230, "BF16_R16"),
    (337, "IQ2_K_R4"),
])  # fmt: skip
def test_a_type_of_a_fork_is_named_and_sound_in_its_own_engine(tmp_path, run_inspector, type_id, words):
    write(tmp_path, {"m.gguf": with_type(type_id)})
    report = audit(tmp_path / "m.gguf")
    assert [(f.code, f.severity) for f in report.findings] == [("GG024", "info")]
    assert words in report.findings[0].message
    shown = json.loads(run_inspector(["show", tmp_path / "m.gguf", "--json"])[1])
    assert {d["dtype"]: d["nbytes"] for d in shown["dtypes"]}[words] == 4096
    assert shown["facts"]["n_layers"] == 2
    assert any("sound in its own engine" in note for note in shown["notes"])


@pytest.mark.parametrize("type_id", [4, 33, 43, 60, 96, 400, 2**31 - 1, -1])
def test_a_type_of_nobody_is_an_error(tmp_path, type_id):
    write(tmp_path, {"m.gguf": with_type(type_id)})
    assert "GG016" in {f.code for f in audit(tmp_path / "m.gguf").findings if f.severity == "error"}


# --- headers ---------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_keys_that_the_file_has_room_for_are_read(tmp_path):
    keys = KEYS | {f"notes.{i}": (U32, i) for i in range(100_000)}
    write(tmp_path, {"m.gguf": gguf(keys, gguf_tensors())})
    assert audit(tmp_path / "m.gguf").findings == ()


def test_keys_that_the_file_has_no_room_for_are_an_error(tmp_path):
    write(tmp_path, {"m.gguf": build([(k, *v) for k, v in KEYS.items()], gguf_tensors(), n_kv=100_000)})
    assert "GG003" in {f.code for f in audit(tmp_path / "m.gguf").findings if f.severity == "error"}


# --- what cannot be looked at ----------------------------------------------------------------------------------------


def test_a_document_of_too_many_bytes_is_told_in_true_words(tmp_path):
    folder = llama_folder(tmp_path, **{"generation_config.json": '{"a": "' + "x" * (9 << 20) + '"}'})
    [finding] = loud(audit(folder))
    assert finding.code == "FD010"
    assert "more than a document should have" in finding.message
    assert "download" not in finding.hint


# --- SARIF and hooks -------------------------------------------------------------------------------------------------


def uris(report, root):
    log = sarif([report], rules(), version="1", root=str(root))
    return [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in log["runs"][0]["results"]]


def test_sarif_names_files_relative_to_the_root(tmp_path):
    write(tmp_path / "models" / "a b", {"m.gguf": b"", "deep/n.gguf": b""})
    both = ["models/a%20b/deep/n.gguf", "models/a%20b/m.gguf"]
    assert sorted(uris(audit(tmp_path / "models" / "a b"), tmp_path)) == both
    assert set(uris(audit(tmp_path / "models" / "a b" / "m.gguf"), tmp_path)) == {"models/a%20b/m.gguf"}


def test_sarif_names_files_outside_the_root_by_their_whole_path(tmp_path):
    write(tmp_path / "models", {"m.gguf": b""})
    assert uris(audit(tmp_path / "models"), tmp_path / "elsewhere") == [f"file://{tmp_path}/models/m.gguf"]


def test_sarif_is_relative_to_the_current_folder_unless_told(tmp_path, run_inspector):
    write(tmp_path / "models", {"m.gguf": b""})
    for args, uri in (((), "models/m.gguf"), (("--root", "models"), "m.gguf")):
        log = json.loads(run_inspector(["audit", "models", "--sarif", *args], cwd=tmp_path)[1])
        place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == uri


HOOKED = """
    model.gguf sub/model-00001-of-00002.safetensors pytorch_model.bin a.npy a.npz a.joblib a.pickle a.keras a.h5
    config.json sub/config.json adapter_config.json tokenizer_config.json model.safetensors.index.json
    chat_template.jinja sub/chat_template.json generation_config.json model_index.json modules.json
    """.split()  # noqa: SIM905
NOT_HOOKED = """
    tsconfig.json jsconfig.json sub/tsconfig.json myconfig.json web/page.jinja templates/index.jinja2 package.json
    README.md a.py binary xchat_template.jsonl config.json.md
    """.split()  # noqa: SIM905


def test_the_hook_takes_models_and_nothing_else(root):
    text = (root / ".pre-commit-hooks.yaml").read_text("utf-8")
    pattern = re.compile(re.search(r"files: \|\n(.*?)\n  \w", text, re.DOTALL)[1].strip())
    assert [name for name in HOOKED if not pattern.search(name)] == []
    assert [name for name in NOT_HOOKED if pattern.search(name)] == []


# --- standard input --------------------------------------------------------------------------------------------------


def test_a_pipe_on_standard_input_is_told_in_true_words(run_inspector):
    code, out, _ = run_inspector(["audit", "/dev/stdin"], stdin="hello")
    assert (code, "save it to a file first" in out, "remove it" in out) == (1, True, False)


def test_a_file_on_standard_input_is_audited(tmp_path):
    npy(tmp_path / "a.npy")
    (tmp_path / "bad.pkl").write_bytes(b"cposix\nsystem\n(S'id'\ntR.")
    command = [sys.executable, "-m", "inspector", "audit", "/dev/stdin"]
    for name, expected in (("a.npy", 0), ("bad.pkl", 1)):
        with open(tmp_path / name, "rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, encoding="utf-8", check=False)
        assert (done.returncode, "1 file" in done.stdout) == (expected, True)
