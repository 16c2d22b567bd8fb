"""`inspector compare` through a real process, on what llama-server b11434 printed of a fixture's model."""

from __future__ import annotations

import json
from pathlib import Path

from schemas import check
from startup_logs import NEW, VLLM


def _log(tmp_path: Path, text: str = NEW) -> str:
    path = tmp_path / "start.log"
    path.write_text(text)
    return str(path)


def test_a_log_of_the_same_build_agrees_in_every_printed_digit(run_inspector, sparse_model, tmp_path):
    code, out, err = run_inspector(
        ["compare", _log(tmp_path), str(sparse_model("llama-3.2-1b")), "--json", "--within", "0"]
    )
    answer = check(json.loads(out))
    assert (code, err) == (0, "")
    assert (answer["schema"], answer["build"], answer["same"]) == ("inspector.compare/1", "b11434 (abc1234)", True)
    assert {(r["what"], r["device"]): r["off"] for r in answer["lines"]} == {
        ("weights", "host"): 0, ("weights", "CUDA0"): 0, ("output", "host"): 0, ("kv_cache", "CUDA0"): 0,
        ("compute", "CUDA0"): 0, ("compute", "host"): 0,
    }  # fmt: skip


def test_stdin_and_a_table(run_inspector, sparse_model):
    code, out, _ = run_inspector(["compare", "-", str(sparse_model("llama-3.2-1b"))], stdin=NEW)
    assert code == 0
    assert "b11434" in out
    assert "every known line is within 1 %" in out


def test_a_line_that_is_off_is_exit_code_1(run_inspector, sparse_model, tmp_path):
    log = _log(tmp_path, NEW.replace("72.01", "75.00"))
    code, out, _ = run_inspector(["compare", log, str(sparse_model("llama-3.2-1b"))])
    assert code == 1
    assert "1 of 6 lines are off by more than 1 %" in out
    assert run_inspector(["compare", log, str(sparse_model("llama-3.2-1b")), "--within", "5%"])[0] == 0


def test_a_buffer_that_only_the_log_has_is_off(run_inspector, sparse_model, tmp_path):
    log = _log(tmp_path, NEW + "I llama_memory:  CUDA0 RS buffer size = 10.00 MiB\n")
    assert run_inspector(["compare", log, str(sparse_model("llama-3.2-1b"))])[0] == 1


def test_vllm_beside_a_config(run_inspector, tmp_path):
    root = Path(__file__).parents[2]
    log = _log(tmp_path, VLLM.replace("tensor_parallel_size=2", "tensor_parallel_size=1"))
    config = str(root / "fixtures/configs/llama-3-8b.json")
    code, out, _ = run_inspector(["compare", log, config, "--json"])
    rows = {r["what"]: r for r in check(json.loads(out))["lines"]}
    assert code == 0
    assert rows["kv_cache"]["off"] == 0  # 8,192 tokens of 128 KiB
    assert rows["weights"]["off"] < 0.01
    assert rows["overhead"]["low_nbytes"] < rows["overhead"]["log_nbytes"] < rows["overhead"]["nbytes"]
    assert "within the range" in run_inspector(["compare", log, config])[1]
    greater = _log(tmp_path, Path(log).read_text().replace("0.54 GiB", "0.94 GiB"))
    code, out, _ = run_inspector(["compare", greater, config])
    assert (code, "OFF" in out) == (1, True)


def test_what_cannot_be_read_is_one_line(run_inspector, sparse_model, tmp_path):
    for log in (str(tmp_path / "missing"), str(tmp_path), _log(tmp_path, "nothing here")):
        code, out, err = run_inspector(["compare", log, str(sparse_model("llama-3.2-1b"))])
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert "Traceback" not in err
    assert run_inspector(["compare", "-", "x", "--within", "many"], stdin=NEW)[0] == 2
