"""Scans of places that are elsewhere: an organisation of the Hub, and a bucket that is not always there."""

from __future__ import annotations

import threading

import pytest
from fleet_runs import jsonl, until
from hub_models import QUANTS, small_gguf
from hub_server import SHA, HubServer
from s3_server import KEYS, s3_server  # noqa: F401 - a fixture

from inspector.errors import InspectorError
from inspector.fleet.items import is_search, read_targets, search

N = 12


@pytest.fixture
def scan(run_inspector, tmp_path):
    def run(hub, *args):
        return run_inspector(["scan", *args, "-j", "2"], cwd=tmp_path, env={"HF_ENDPOINT": hub.endpoint})

    return run


def test_an_organisation_is_a_row_for_each_quant_of_each_repository(scan, tmp_path):
    with HubServer(QUANTS) as hub:
        _, _, err = scan(hub, "hf://org/*", "-o", "m.jsonl")
        rows = jsonl(tmp_path / "m.jsonl")
        assert err == ""
        assert {row["found"] for row in rows} == {"hf://org/model"}
        assert {row["target"].removeprefix("hf://org/model/") for row in rows} <= set(QUANTS)
        assert len(rows) > 1
        assert {(row["store"], row["repo"], row["stamp"]) for row in rows} == {("hub", "org/model", f"commit:{SHA}")}
        assert all(len(row["sha256"]) == 64 for row in rows if row["n_files"] == 1)
        hub.forget()
        _code, out, err = scan(hub, "hf://org/*", "-o", "m.jsonl", "--resume")
        assert "1 unchanged, not read again" in out
        assert hub.n_requests <= 2  # the list alone
        assert jsonl(tmp_path / "m.jsonl") == rows


def bucket(hub, tmp_path):
    """The addresses of a bucket's files, as a list of roots."""
    (tmp_path / "list.txt").write_text("".join(f"{hub.cdn}/plain/{name}\n" for name in hub.blobs))
    return ("@list.txt", "-o", "m.jsonl", "--no-audit")


def found(hub, tmp_path):
    """The rows, whatever port the bucket had."""
    named = ("target", "found", "root", "error")
    rows = jsonl(tmp_path / "m.jsonl")
    return [row | {n: row[n].replace(hub.cdn, "") for n in named if row[n]} for row in rows]


def test_a_bucket_that_answers_503_now_and_then_ends_in_the_same_table(scan, tmp_path):
    files = {f"m-{i:02}-F32.gguf": small_gguf(name=f"m{i}") for i in range(N)}
    with HubServer(files) as hub:
        assert scan(hub, *bucket(hub, tmp_path))[0] in (0, 1)
        quiet = found(hub, tmp_path)
    with HubServer(files, faults={name: ["status:503"] for name in list(files)[::4]}) as hub:
        assert scan(hub, *bucket(hub, tmp_path))[0] in (0, 1)
        assert found(hub, tmp_path) == quiet
    assert len(quiet) == N
    assert {row["error_kind"] for row in quiet} <= {None, "facts"}


def refuse_in_the_middle(door):
    """Once the first header is asked for, the next requests are answered 503."""
    until(lambda: any(path.endswith(".gguf") for method, path, _ in door.requests if method == "GET"), "a header")
    door.refusals = 3


def test_a_bucket_of_s3_that_is_busy_for_a_while_ends_in_the_same_table(run_inspector, s3_server, files, tmp_path):  # noqa: F811
    s3_server.put("/fleet")
    for i, name in enumerate(["tiny-llama-q8_0", "tiny-moe-q8_0"] * 3):
        s3_server.put(f"/fleet/org/m{i}/{name}.gguf", (files / "gguf" / f"{name}.gguf").read_bytes())
    env = KEYS | {"AWS_ENDPOINT_URL": s3_server.url, "AWS_ENDPOINT": s3_server.url}
    command = ["scan", "s3://fleet/org", "-j", "2", "-o"]
    code, out, err = run_inspector([*command, "quiet.jsonl"], cwd=tmp_path, env=env)
    assert (code, err) == (0, ""), out
    s3_server.reset()
    threading.Thread(target=refuse_in_the_middle, args=(s3_server,), daemon=True).start()
    code, out, err = run_inspector([*command, "busy.jsonl"], cwd=tmp_path, env=env)
    assert (code, err, s3_server.refusals) == (0, "", 0), out
    rows = jsonl(tmp_path / "quiet.jsonl")
    assert jsonl(tmp_path / "busy.jsonl") == rows
    assert [row["target"].split("/")[4] for row in rows] == [f"m{i}" for i in range(6)]
    assert {(row["store"], row["verdict"], row["stamp"][:5]) for row in rows} == {("remote", "pass", "etag:")}
    s3_server.reset()
    code, out, _ = run_inspector([*command, "quiet.jsonl", "--resume"], cwd=tmp_path, env=env)
    assert (code, "6 unchanged" in out) == (0, True)
    assert not [path for method, path, _ in s3_server.requests if method == "GET" and path.endswith(".gguf")]


def test_what_a_bucket_refuses_is_a_row_and_is_asked_again(scan, tmp_path):
    files = {f"m-{i}-F32.gguf": small_gguf(name=f"m{i}") for i in range(4)}
    with HubServer(files) as hub:
        hub.faults["m-1-F32.gguf"] = ["status:403"] * 50
        code, _out, _ = scan(hub, *bucket(hub, tmp_path))
        assert code == 2
        (refused,) = [row for row in jsonl(tmp_path / "m.jsonl") if row["error_kind"] == "source"]
        assert refused["name"] == "m-1-F32.gguf"
        hub.faults.clear()
        scan(hub, *bucket(hub, tmp_path), "--resume")
        assert {row["error_kind"] for row in jsonl(tmp_path / "m.jsonl")} <= {None, "facts"}


def test_a_hub_that_does_not_answer_is_a_row_and_exit_code_2(run_inspector, tmp_path):
    code, _, err = run_inspector(["scan", "hf://org/*", "-o", "m.jsonl"], cwd=tmp_path, env={"HF_HUB_OFFLINE": "1"})
    (row,) = jsonl(tmp_path / "m.jsonl")
    assert (code, err, row["error_kind"]) == (2, "", "source")
    assert row["error"].startswith("the Hub's list of models")


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("hf://org/*", True), ("hf://models/org/*-GGUF", True), ("hf://*/*coder*", True), ("hf://org/name", False),
        ("org/*", False), ("hf://org/name/*.gguf", False), ("hf://org", False), ("./a*/b", False),
    ],
)  # fmt: skip
def test_patterns_of_the_hub(root, expected):
    assert is_search(root) is expected


def test_all_of_the_hub_is_not_asked_for():
    with pytest.raises(InspectorError, match="all of the Hub"):
        list(search("hf://*/*"))


def test_a_list_of_roots_leaves_out_empty_lines_and_remarks(tmp_path):
    (tmp_path / "list").write_text("# first\n\n  a b \n#\nc\n")
    assert list(read_targets(str(tmp_path / "list"))) == ["a b", "c"]
