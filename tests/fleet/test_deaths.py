"""Whatever dies on the way, the table is complete, and equal row by row to that of a scan nobody disturbed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import make_fleet
import pytest
from fleet_runs import begun, children, ended, interrupt, jsonl, until

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="processes are found in /proc")
N = 400


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    make_fleet.make(str(folder / "models"), N, broken=0.02)
    return folder


@pytest.fixture(scope="module")
def undisturbed(fleet, run_inspector):
    code, _, err = run_inspector(["scan", "models", "-o", "quiet.jsonl", "-j", "2"], cwd=fleet)
    assert (code, err) == (1, "")
    return jsonl(fleet / "quiet.jsonl")


def test_every_model_has_one_row_and_every_broken_one_says_why(undisturbed):
    assert len({row["target"] for row in undisturbed}) == len(undisturbed) == N
    assert sum(row["error"] is not None for row in undisturbed) == N // 50
    assert {row["error_kind"] for row in undisturbed} == {None, "format"}


def test_a_process_of_the_pool_is_killed_in_the_middle(fleet, undisturbed):
    process = begun(["models", "-j", "2"], fleet, "killed.jsonl")
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    code, _, err = ended(process)
    assert (code, err) == (1, "")
    assert jsonl(fleet / "killed.jsonl") == undisturbed


def test_an_interrupted_scan_leaves_whole_rows_and_goes_on_from_there(fleet, undisturbed, run_inspector):
    code, _, err = interrupt(begun(["models", "-j", "2"], fleet, "broken-off.jsonl"))
    assert (code, err.count("\n")) == (130, 1)
    assert "--resume" in err
    rows = jsonl(fleet / "broken-off.jsonl")
    assert 0 < len(rows) < N
    assert all(row in undisturbed for row in rows)
    code, out, _ = run_inspector(["scan", "models", "-o", "broken-off.jsonl", "--resume"], cwd=fleet)
    assert f"{len(rows):,} unchanged, not read again" in out
    assert jsonl(fleet / "broken-off.jsonl") == undisturbed


def test_a_scan_that_is_killed_goes_on_from_its_journal_and_leaves_no_process_behind(fleet, undisturbed, run_inspector):
    process = begun(["models", "-j", "2"], fleet, "shot.jsonl")
    workers = children(process.pid)
    process.kill()
    ended(process)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), "the workers' end")
    assert not (fleet / "shot.jsonl").exists()
    _, out, _ = run_inspector(["scan", "models", "-o", "shot.jsonl", "--resume"], cwd=fleet)
    assert "not read again" in out
    assert jsonl(fleet / "shot.jsonl") == undisturbed
    assert not list(fleet.glob("shot.jsonl.*"))


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers, each a process of its own; (address, their processes)."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(*words):
        command = [sys.executable, "-m", *words, "--no-dashboard"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    processes = [start("distributed.cli.dask_scheduler", "--host", address)]
    work = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny")
    processes += [start(*work), start(*work)]
    ready = f"from distributed import Client; Client({address!r}, timeout=30).wait_for_workers(2, timeout=30)"
    subprocess.run([sys.executable, "-c", ready], check=True)
    yield address, processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def stalled(fleet):
    """A server that takes a connection and says nothing, among files: where to scan, all roots, the files of them."""
    files = [str(path) for path in sorted((fleet / "models").glob("*/*/*.gguf"))[:3]]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        yield fleet, [files[0], f"{address}/x.gguf", *files[1:]], files


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_a_server_that_says_nothing_is_one_row_and_the_others_are_as_ever(
    engine, undisturbed, stalled, cluster, run_inspector
):
    fleet, roots, files = stalled
    on = ["--on", cluster[0]] if engine == "dask" else ["-j", "1"]
    code, _, err = run_inspector(["scan", *roots, "-o", "stalled.jsonl", "--timeout", "3", *on], cwd=fleet)
    assert (code, err) == (2, "")
    rows = {row["target"]: row for row in jsonl(fleet / "stalled.jsonl")}
    assert list(rows) == roots
    for row in rows.values():
        if row["target"] not in files:
            assert (row["error_kind"], row["error"].rpartition(": ")[2]) == ("source", "no end within 3 s")
    expected = {row["target"]: row for row in undisturbed}
    assert [rows[f] for f in files] == [expected[f] | {"root": f} for f in files]


def test_a_worker_of_a_dask_cluster_is_killed_in_the_middle(fleet, undisturbed, cluster):
    address, (_, first, _) = cluster
    process = begun(["models", "--on", address], fleet, "dask.jsonl")
    first.kill()
    code, _, err = ended(process)
    assert (code, err) == (1, "")
    assert jsonl(fleet / "dask.jsonl") == undisturbed


def test_a_cluster_that_ends_is_one_line_and_what_was_read_is_there(fleet, undisturbed, cluster, run_inspector):
    address, (scheduler, *_) = cluster
    process = begun(["models", "--on", address], fleet, "lost.jsonl")
    scheduler.kill()
    code, _, err = ended(process)
    assert code == 2
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1  # tornado may have its say before
    assert len(jsonl(fleet / "lost.jsonl")) < N
    run_inspector(["scan", "models", "-o", "lost.jsonl", "--resume"], cwd=fleet)
    assert jsonl(fleet / "lost.jsonl") == undisturbed
