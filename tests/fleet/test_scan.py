"""`inspector scan`: what is read again and what is not, where it goes, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from fleet_runs import jsonl

from inspector.errors import InspectorError
from inspector.fleet.options import ScanOptions
from inspector.fleet.scan import Outputs, scan

Q8 = "gguf/tiny-llama-q8_0.gguf"


@pytest.fixture
def place(files, tmp_path):
    for name in ("a", "b", "c"):
        shutil.copy(files / Q8, tmp_path / f"{name}.gguf")
    shutil.copytree(files / "safetensors" / "llama-tied", tmp_path / "tied")
    return tmp_path


def targets(path):
    return [os.path.basename(row["target"]) for row in jsonl(path)]


def test_a_row_a_model_in_the_order_of_names(place, run_inspector):
    code, out, err = run_inspector(["scan", place, "-o", place / "m.jsonl"])
    assert (code, err) == (0, "")
    assert targets(place / "m.jsonl") == ["a.gguf", "b.gguf", "c.gguf", "tied"]
    assert out.splitlines()[0].startswith("4 models · ")
    assert out.splitlines()[-1] == f"wrote {place / 'm.jsonl'}"


def test_only_what_has_changed_is_read_again(place, run_inspector):
    scan = ["scan", place, "-o", place / "m.jsonl", "--resume"]
    assert "unchanged" not in run_inspector(scan)[1]  # nothing to go on with is nothing wrong
    assert "4 unchanged, not read again" in run_inspector(scan)[1]
    os.utime(place / "a.gguf", ns=(1, 1))
    (place / "b.gguf").unlink()
    os.utime(place / "tied" / "config.json", ns=(1, 1))
    assert "1 unchanged, not read again" in run_inspector(scan)[1]
    assert targets(place / "m.jsonl") == ["a.gguf", "c.gguf", "tied"]
    assert "unchanged" not in run_inspector([*scan, "-c", "256"])[1]  # another question


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".duckdb"])
def test_every_kind_of_table_is_gone_on_with_and_tensors_too(suffix, place, run_inspector):
    pytest.importorskip({".parquet": "pyarrow", ".duckdb": "duckdb"}.get(suffix, "json"))
    from inspector.fleet.tables import MODELS, TENSORS, read_table, tensors_path

    path = str(place / f"m{suffix}")

    def stored():
        return list(read_table(path, MODELS)), list(read_table(tensors_path(path), TENSORS))

    scan = ["scan", place, "-o", path, "--tensors", "--resume", "-j", "1"]
    run_inspector(scan)
    before = stored()
    assert "4 unchanged, not read again" in run_inspector(scan)[1]
    assert stored() == before
    assert len(before[1]) == sum(MODELS.named(row)["n_tensors"] for row in before[0]) > 0


def test_what_did_not_answer_is_asked_again(place, run_inspector):
    (place / "list.txt").write_text(f"# two\n{place / 'a.gguf'}\n\n{place / 'later.gguf'}\n")
    scan = ["scan", "--targets", place / "list.txt", "-o", place / "m.jsonl", "--resume"]
    code, out, _ = run_inspector(scan)
    assert (code, "1 of them not reached" in out) == (2, True)
    shutil.move(place / "b.gguf", place / "later.gguf")
    code, out, _ = run_inspector(scan)
    assert (code, "1 unchanged" in out) == (0, True)


def test_roots_from_standard_input_and_each_model_once(place, run_inspector):
    words = f"{place}\n{place / 'a.gguf'}\n"
    run_inspector(["scan", "@-", "-o", place / "m.jsonl"], stdin=words)
    assert targets(place / "m.jsonl") == ["a.gguf", "b.gguf", "c.gguf", "tied"]


def test_the_first_errors_stand_below_the_sums_and_what_is_not_known_in_no_table(tmp_path, run_inspector):
    roots = [f"absent-{i}.gguf" for i in range(7)]
    code, out, _ = run_inspector(["scan", *roots, "-o", "m.jsonl", "-j", "1"], cwd=tmp_path)
    assert (code, out.splitlines()) == (2, [
        "7 models · 0 B", "  7 could not be read in full, 7 of them not reached: see the column error",
        *(f"    absent-{i}.gguf: no such file or folder" for i in range(5)), "    and 2 more", "", "wrote m.jsonl",
    ])  # fmt: skip


def test_sums_as_json(place, run_inspector):
    code, out, _ = run_inspector(["scan", place, "-o", place / "m.jsonl", "--json"])
    totals = json.loads(out)["totals"]
    assert (code, totals["n_models"], totals["n_unread"], totals["complete"]) == (0, 4, 0, True)
    assert totals["nbytes"] == sum(row["nbytes"] for row in jsonl(place / "m.jsonl"))


def test_what_must_not_be_opened_is_a_row_that_says_why(place, run_inspector):
    (place / "link.gguf").symlink_to("/etc/hostname")
    (place / "gone.gguf").symlink_to("nowhere.gguf")
    os.mkfifo(place / "pipe.gguf")
    os.mkfifo(place / "tied" / "tokenizer_config.json")
    code, _, err = run_inspector(["scan", place, "-o", place / "m.jsonl", "-j", "1"])
    rows = {row["name"]: (row["error_kind"], row["error"]) for row in jsonl(place / "m.jsonl")}
    assert (code, err) == (2, "")
    assert rows["link.gguf"] == ("source", "a link that leads out of the folder")
    assert rows["gone.gguf"] == ("source", "a link that leads nowhere")
    assert rows["pipe.gguf"] == ("source", "a named pipe, not a file")
    assert rows["tied"] == (None, None)
    assert len(rows) == 7


def test_a_limit_changes_no_question():
    assert ScanOptions(timeout=1.0).asked == ScanOptions().asked != ScanOptions(audit=False).asked


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (Outputs("m.jsonl", sbom="./m.jsonl"), "two outputs have one name"),
        (Outputs("m.jsonl", page=os.sep), "a folder, not a file"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(outputs, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InspectorError, match=words):
        scan(["x"], outputs)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_what_can_be_gone_on_from(place):
    resource = pytest.importorskip("resource")
    out = Outputs(str(place / "m.jsonl"))
    roots = [str(place / f"absent-{i}.gguf") for i in range(400)]
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, was[1]))
        with pytest.raises(InspectorError, match=r"m\.jsonl\.unfinished: ") as raised:
            scan(roots, out, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
    assert "--resume goes on from there" in raised.value.hint
    assert scan([], out, resume=True).n_models == 0


def test_the_page_holds_every_model_and_no_markup_of_theirs(place, run_inspector):
    evil = place / "<script>alert(1)<" / "m.gguf"
    evil.parent.mkdir()
    shutil.copy(place / "a.gguf", evil)
    run_inspector(["scan", place, "--report", place / "page.html"])
    page = (place / "page.html").read_text(encoding="utf-8")
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert len(json.loads(data)["rows"]) == 5
    assert "<" not in data
    assert page.count("<script") == 2
    assert "http" not in page.replace('http-equiv="Content', "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["x"], "needs somewhere to go"),
        (["-o", "m.jsonl"], "nothing to scan"),
        (["x", "-o", "m.xlsx"], "not a kind of table"),
        (["x", "--report", "p.html", "--resume"], "--resume goes on with a table"),
        (["x", "-o", "m.jsonl", "--on", "spark"], "no such engine"),
        (["x", "-o", "m.jsonl", "-e", "tgi"], "unknown engine"),
        (["x", "-o", "m.jsonl", "--gpu", "rtx0"], "rtx0"),
        (["x", "-o", "nowhere/m.jsonl"], "nowhere/m.jsonl: no such folder"),
        (["x", "-o", "m.jsonl", "--report", "nowhere/p.html"], "nowhere/p.html: no such folder"),
        (["x", "-o", "m.jsonl", "--on", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(args, words, tmp_path, run_inspector):
    if "tcp://127.0.0.1:9" in args:
        pytest.importorskip("distributed")
    patience = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    code, out, err = run_inspector(["scan", *args], cwd=tmp_path, env=patience)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (["-o", "m.parquet"], "pyarrow"), (["-o", "m.duckdb"], "duckdb"), (["-o", "m.csv", "--on", "dask"], "dask"),
        (["--cyclonedx", "s.json"], "cyclonedx"),
    ],
)  # fmt: skip
def test_without_an_extra_it_says_what_to_install(args, missing, tmp_path):
    hide = f"""
import sys
sys.modules[{missing!r}] = None
sys.argv = ["inspector", "scan", ".", *{args!r}]
from inspector.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", hide], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"needs {missing}" in done.stderr
    assert "hint: pip install 'weights-inspector[" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_lines_and_cells_need_no_extra(place):
    hide = """
import sys
for name in ("pyarrow", "duckdb", "dask", "distributed", "cyclonedx", "numpy"):
    sys.modules[name] = None
sys.argv = ["inspector", "scan", "a.gguf", "-o", sys.argv[1]]
from inspector.__main__ import main
if __name__ == "__main__":
    main()
"""
    (place / "plain.py").write_text(hide)
    for name in ("m.csv", "m.jsonl"):
        done = subprocess.run(
            [sys.executable, "plain.py", name], cwd=place, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
