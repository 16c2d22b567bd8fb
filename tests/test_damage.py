"""Damaged files through every command: an answer or one line, never a traceback, and never for long."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys

import gguf_builder as gb
import pytest
from damage import fuzz

CLAIMS = {
    "2^63 tensors": gb.build(n_tensors=1 << 63),
    "2^64-1 keys": gb.build(n_kv=(1 << 64) - 1),
    "2^32 strings": gb.build([("a", gb.ARR, gb.Arr(gb.STR, [], 1 << 32))]),
    "2^61 numbers": gb.build([("a", gb.ARR, gb.Arr(gb.U64, [], 1 << 61))]),
    "a string of 2^63 bytes": gb.build([("a", gb.STR, gb.Str(b"x", 1 << 63))]),
    "a key of 2^63 bytes": gb.build([(gb.Str(b"x", 1 << 63), gb.U8, 1)]),
    "a million dimensions": gb.build((), [gb.Tensor("t", (32,), n_dims=1_000_000)]),
    "safetensors: 90 MB of header": struct.pack("<Q", 90_000_000) + b"{}",
    "safetensors: 2^63 bytes of header": struct.pack("<Q", 1 << 63) + b"{}",
    "safetensors: 100 deep": struct.pack("<Q", 205) + b'{"a":' + b"[" * 100 + b"]" * 100,
    "safetensors: 5,000 deep": struct.pack("<Q", 10_006) + b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
}

# Runs a command and prints its exit code, stderr, CPU seconds and peak memory in KiB.
MEASURED = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
err = child.stderr.read()
_, status, used = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps([child.returncode, err, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


@pytest.fixture(scope="module")
def corpus():
    return fuzz.Corpus()


def broken_in(corpus, cases, n_commands):
    return {case: found for case in cases if (found := fuzz.run_case(corpus, case, n_commands=n_commands)[1])}


def test_damage_of_every_kind_yields_an_answer_or_one_line(corpus):
    assert broken_in(corpus, range(70), 6) == {}


@pytest.mark.slow
def test_damage_of_every_kind_through_every_command(corpus):
    assert broken_in(corpus, range(1000, 1060), None) == {}


@pytest.mark.parametrize("name", ["nested-arrays.gguf", "beyond-upstream.gguf", "no-metadata.safetensors"])
def test_a_file_cut_off_at_any_length_is_no_traceback(root, tmp_path, name):
    source = next((root / "fixtures" / "files").rglob(name)).read_bytes()
    path = tmp_path / name
    for n in range(len(source)):
        path.write_bytes(source[:n])
        fuzz.run_one(["show", str(path)])
        fuzz.run_one(["audit", str(path), "--json"])


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_claim_of_a_header_costs_time_or_memory(tmp_path, claim):
    path = tmp_path / ("m.safetensors" if claim.startswith("safetensors") else "m.gguf")
    path.write_bytes(CLAIMS[claim])
    os.truncate(path, 90_000_100)  # the file is large enough to make the smaller claims believable
    # by way of a small process: a child's peak begins at its parent's size, and a test worker is large
    words = [sys.executable, "-c", MEASURED, sys.executable, "-m", "inspector", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    code, err, cpu, peak_kib = json.loads(done.stdout)
    assert code == 2
    assert [line.split(":")[0] for line in err.splitlines()] in (["error"], ["error", "hint"])
    assert cpu < fuzz.CPU_SECONDS
    assert peak_kib * 1024 < fuzz.MEMORY_NBYTES


@pytest.mark.skipif(os.name == "nt", reason="POSIX only: bash and its redirections")
@pytest.mark.parametrize("ending", [">&-", ">/dev/full"])
@pytest.mark.parametrize("words", ["", "tensors", "memory --json", "audit"])
def test_an_answer_that_cannot_be_written_is_one_line(root, words, ending):
    target = root / "fixtures" / "files" / "gguf" / "tiny-llama-q8_0.gguf"
    command = f"{sys.executable} -m inspector {words} {target} {ending}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: standard output")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX only: bash and its pipes")
def test_a_reader_that_stops_is_no_error(root):
    target = root / "fixtures" / "files" / "gguf" / "tiny-llama-q8_0.gguf"
    command = f"set -o pipefail; {sys.executable} -m inspector tensors {target} --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_help_in_a_latin_1_terminal_is_no_traceback(run_inspector):
    code, _, err = run_inspector(["calc", "--help"], env={"PYTHONIOENCODING": "latin-1"})
    assert (code, err) == (0, "")


def test_a_fifo_is_not_waited_for(run_inspector, tmp_path):
    os.mkfifo(tmp_path / "model.gguf")
    for target in (tmp_path / "model.gguf", tmp_path):
        code, out, err = run_inspector([target], timeout=10)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")


def heed_interrupts():
    """A shell starts what runs in its background with interrupts ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_with_130():
    command = (
        "import signal,os;import inspector.__main__ as m;m.run=lambda _:os.kill(os.getpid(),signal.SIGINT);m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False, preexec_fn=heed_interrupts
    )
    assert (done.returncode, done.stderr) == (130, "")
