"""`inspector audit` and `inspector rule` as people and CI run them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
from audit_builder import gguf_bytes, llama_folder, sharded, st_bytes, write
from gguf_builder import STR, Arr, Tensor, build
from holes import stretch

from inspector.audit.runner import run
from inspector.audit.subject.local import gather

GOOD = st_bytes({"a": ("F32", (2, 2))})
HOSTILE = "x\x1b[31m\u202eevil\u2066\x07\u200b"


EMPTY_NAME = st_bytes({"": ("F32", (2,))})


@pytest.mark.parametrize(("content", "args", "expected"), [
    (GOOD, (), (0, "pass")), (GOOD[:-1], (), (1, "fail")), (GOOD[:-1], ("--ignore", "ST009"), (0, "pass")),
    (GOOD[:-1], ("--ignore", "st-truncated"), (0, "pass")), (b"", ("--fail-on", "info"), (1, "fail")),
    (EMPTY_NAME, (), (0, "warn")), (EMPTY_NAME, ("--fail-on", "warning"), (1, "warn")),
    (st_bytes({"a": ("F32", (2,))}, pad=False), ("--fail-on", "info"), (1, "pass")),
])  # fmt: skip
def test_verdict_and_exit_code(tmp_path, run_inspector, content, args, expected):
    write(tmp_path, {"model.safetensors": content})
    got, out, err = run_inspector(["audit", tmp_path / "model.safetensors", "--json", *args])
    value = json.loads(out)
    assert ((got, value["verdict"]), err) == (expected, "")
    assert value["schema"] == "inspector.audit/1"
    for f in value["findings"]:
        assert list(f) == ["code", "severity", "where", "message", "hint"]


@pytest.mark.parametrize("args", [["no-such-file"], [], ["x", "--ignore", "XX999"], ["x", "--fail-on", "never"]])
def test_what_cannot_be_answered_exits_2(run_inspector, args):
    code, out, err = run_inspector(["audit", *args])
    assert code == 2
    assert "Traceback" not in out + err
    assert err


def test_a_target_that_is_not_there_does_not_hide_the_others(tmp_path, run_inspector):
    write(tmp_path, {"good.safetensors": GOOD})
    code, out, err = run_inspector(["audit", tmp_path / "good.safetensors", tmp_path / "gone.safetensors"])
    assert code == 2
    assert out.startswith("PASS")
    assert "gone.safetensors" in err


def test_the_text_is_short_and_worst_first(tmp_path, run_inspector):
    folder = sharded(tmp_path, total=1)
    next(folder.glob("model-00002*")).unlink()
    code, out, _ = run_inspector(["audit", folder])
    assert code == 1
    lines = out.splitlines()
    assert lines[0].startswith("FAIL")
    assert lines[1].split()[0] == "error"
    assert "hf download" in out
    assert len(lines) < 24


@pytest.mark.parametrize("form", [[], ["--json"], ["--sarif"]])
def test_nothing_of_a_file_reaches_the_terminal_raw(tmp_path, run_inspector, form):
    tensors = {HOSTILE: ("F32", (2,)), "b": ("F32", (0,))}
    folder = llama_folder(tmp_path / "m", tensors, {"model_type": HOSTILE, "architectures": [HOSTILE]})
    write(folder, {"model.safetensors.index.json": {"weight_map": {HOSTILE: HOSTILE, "b": f"../{HOSTILE}"}}})
    keys = [("general.architecture", STR, HOSTILE), (HOSTILE, STR, HOSTILE.encode() + b"\xff")]
    write(folder, {"a.gguf": build(keys, [Tensor(HOSTILE), Tensor(HOSTILE), Tensor("y" + HOSTILE, (5,), 2)])})
    os.symlink("/tmp/" + HOSTILE, folder / ("link" + HOSTILE))
    code, out, err = run_inspector(["audit", folder, *form])
    assert code == 1
    assert not err
    assert "evil" in out
    assert all(c == "\n" or c.isprintable() for c in out)
    assert out.isascii() or not form
    assert not any(c in out for c in "\x1b\u202e\u2066\u200b\x07")


def test_a_broken_rule_hides_nothing(tmp_path, monkeypatch):
    from inspector.audit import registry

    registry.rules()
    broken = registry._RULES["FL002"]

    def check(_):
        """Broken."""
        raise KeyError("x")

    monkeypatch.setitem(registry._RULES, "FL002", broken.replace(check=check))
    write(tmp_path, {"model.gguf": b""})
    report = run(gather(str(tmp_path)))
    assert [f.code for f in report.findings] == ["FL001", "FL002"]
    assert "itself failed (KeyError)" in report.findings[1].message
    with pytest.raises(KeyError):
        run(gather(str(tmp_path)), guard=False)


def test_rules_are_listed_and_have_pages(run_inspector):
    code, out, _ = run_inspector(["rule"])
    assert code == 0
    assert len(out.splitlines()) > 90
    code, out, _ = run_inspector(["rule", "gg018"])
    assert code == 0
    assert out.startswith("GG018  gguf-offset  (error)")
    assert "Why it matters" in out
    assert run_inspector(["rule", "XX000"])[0] == 2


# --- limits ----------------------------------------------------------------------------------------------------------

# Runs the audit and prints seconds of CPU and MB of its peak, whatever the parent of the process has used before.
MEASURE = (
    "import resource, subprocess, sys; r = subprocess.run([sys.executable, '-m', 'inspector', 'audit', *sys.argv[1:]],"
    " capture_output=True); u = resource.getrusage(resource.RUSAGE_CHILDREN);"
    " print(r.returncode, u.ru_utime + u.ru_stime, u.ru_maxrss // 1024, b'Traceback' in r.stderr)"
)


def measure(path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), "--json"], capture_output=True, text=True, check=True
    )
    code, cpu, mb, crashed = done.stdout.split()
    assert crashed == "False"
    return int(code), float(cpu), int(mb)


def sized(raw, size):
    def make(path):
        path.write_bytes(raw)
        stretch(path, size)

    return make


def header(raw):
    return struct.pack("<Q", len(raw)) + raw


LIMITS = {
    "strings.gguf": (0, lambda p: p.write_bytes(build(
        [("general.architecture", STR, "llama"), ("t", 9, Arr(STR, bytes(16_000_000), 2_000_000))], []))),
    "tail.gguf": (0, sized(gguf_bytes(), 4 << 30)),
    "tail.safetensors": (1, sized(header(b"{}"), 4 << 30)),
    "zeros.gguf": (1, sized(b"", 4 << 30)),
    "deep.safetensors": (1, lambda p: p.write_bytes(header(b'{"a":' + b"[" * (15 << 20) + b"}"))),
    "lists.safetensors": (1, lambda p: p.write_bytes(header(b'{"a":[' + b"[]," * (5 << 20) + b"[]]}"))),
    "numbers.safetensors": (1, lambda p: p.write_bytes(header(b'{"a":[' + b"1," * (7 << 20) + b"1]}"))),
    "name.safetensors": (1, lambda p: p.write_bytes(header(b'{"' + b"a" * (15 << 20) + b'":1}'))),
    "nested.gguf": (1, lambda p: p.write_bytes(build([("x", 9, Arr(9, struct.pack("<iQ", 9, 1) * 10**6, 1))], []))),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_no_hostile_file_costs_two_seconds_or_300_mb(tmp_path, name):
    code, make = LIMITS[name]
    make(tmp_path / name)
    got, cpu, mb = measure(tmp_path / name)
    assert got == code
    assert cpu < 2
    assert mb < 300


FAR = b",".join(b'"%d":"/%d"' % (i, i) for i in range(400_000))
BOMBS = {
    "config.json": b"[" * (7 << 20), "tokenizer_config.json": b'{"a":[' + b"{}," * (2 << 20) + b"{}]}",
    "model.safetensors.index.json": b'{"weight_map":{' + FAR + b"}}",
    "tokenizer.json": b'{"model":{"vocab":{"' + b'\\"' * (15 << 20),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_no_hostile_document_costs_two_seconds_or_300_mb(tmp_path, name):
    folder = llama_folder(tmp_path)
    write(folder, {name: BOMBS[name]})
    got, cpu, mb = measure(folder)
    assert got == (0 if name == "tokenizer.json" else 1)
    assert cpu < 2
    assert mb < 300


def test_every_attack_that_the_page_lists_has_its_test(root):
    import re

    text = (root / "docs" / "attacks.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 20
    for module, name in named:
        assert f"def {name}(" in (root / "tests" / "audit" / module).read_text("utf-8"), name
