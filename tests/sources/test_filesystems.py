"""Stores that fsspec knows: a real S3 server, memory, and what is said where a package or a file is missing."""

from __future__ import annotations

import json
import os
import sys

import pytest
from s3_server import KEYS, s3, s3_server  # noqa: F401 - fixtures

from inspector.checkpoint import SeveralModels, open_checkpoint
from inspector.errors import AccessDenied, InspectorError, LimitExceeded, NotFound, SourceError, Unreachable
from inspector.sources import prefix
from inspector.sources.filesystems import FilesystemSource, connect, guarded, list_remote, open_source, stat
from inspector.stores.walk import find_models


@pytest.fixture(scope="module")
def bucket(s3_server, files):  # noqa: F811
    """Models of both formats in a bucket: a folder, a split, single files, one nested deep."""
    s3_server.put("/models")
    for path in (files / "safetensors" / "llama-sharded").iterdir():
        s3_server.put(f"/models/sharded/{path.name}", path.read_bytes())
    for path in (files / "gguf").glob("tiny-llama*split*.gguf"):
        s3_server.put(f"/models/split/{path.name}", path.read_bytes())
    for name in ("one-Q8_0", "two-F16"):
        s3_server.put(f"/models/quants/{name}.gguf", (files / "gguf" / "tiny-moe-q8_0.gguf").read_bytes())
    s3_server.put("/models/a/b/c/deep.gguf", (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes())
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 21], "data_offsets": [0, 1 << 23]}}).encode()
    s3_server.put("/models/large.safetensors", len(header).to_bytes(8, "little") + header + bytes(1 << 23))
    s3_server.put("/models/page.gguf", b"<html>sign in</html>")
    return "s3://models"


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("sharded", "safetensors/llama-sharded"),
        ("split", "gguf/tiny-llama-split-00001-of-00003.gguf"),
        ("split/tiny-llama-split-00002-of-00003.gguf", "gguf/tiny-llama-split-00001-of-00003.gguf"),
        ("quants/one-Q8_0.gguf", "gguf/tiny-moe-q8_0.gguf"),
        ("quants:F16", "gguf/tiny-moe-q8_0.gguf"),
    ],
)
def test_a_model_in_a_bucket_is_the_same_model(s3, bucket, files, address, local):  # noqa: F811
    found, here = open_checkpoint(f"{bucket}/{address}"), open_checkpoint(str(files / local))
    assert found.tensors == here.tensors
    assert found.metadata == here.metadata
    assert found.config == here.config


def test_headers_alone_are_read(s3, bucket):  # noqa: F811
    assert open_checkpoint(f"{bucket}/large.safetensors").tensors_nbytes == 1 << 23
    ranges = [r for _, path, r in s3.requests if "large" in path and r]
    assert ranges == ["bytes=0-16383"]
    assert s3.sent < 30_000


def test_a_bucket_that_is_busy_for_a_while_is_waited_for(s3, bucket, files):  # noqa: F811
    s3.refusals = 3
    assert open_checkpoint(f"{bucket}/quants/one-Q8_0.gguf").format == "gguf"
    assert s3.refusals == 0


def test_a_bucket_that_stays_busy_is_given_up_in_a_line(s3, bucket):  # noqa: F811
    s3.refusals = 10_000
    with pytest.raises(Unreachable) as error:
        open_checkpoint(f"{bucket}/quants/one-Q8_0.gguf")
    assert "\n" not in str(error.value)
    assert len(s3.requests) <= 6


def test_several_models_of_a_bucket_are_named(s3, bucket):  # noqa: F811
    with pytest.raises(SeveralModels) as several:
        open_checkpoint(f"{bucket}/quants")
    assert [name for name, _, _ in several.value.models] == ["one-Q8_0.gguf", "two-F16.gguf"]
    assert [m.format for m in several.value.open_each()] == ["gguf", "gguf"]


def test_a_bucket_is_all_its_models_however_deep(s3, bucket):  # noqa: F811
    assert open_checkpoint(f"{bucket}/a").files[0].name == "deep.gguf"


def test_values_that_headers_pass_over_are_fetched(s3, bucket, run_inspector):  # noqa: F811
    env = {**KEYS, "AWS_ENDPOINT_URL": s3.url, "AWS_ENDPOINT": s3.url}
    words = ["meta", f"{bucket}/split", "tokenizer.ggml.tokens", "--full"]
    code, out, err = run_inspector(words, env=env)
    assert (code, err) == (0, "")
    assert "</s>" in out


def test_every_model_of_a_bucket_is_found_with_its_etag(s3, bucket):  # noqa: F811
    found = {m.name: m for m in find_models(bucket)}
    assert set(found) == {
        "a/b/c/deep.gguf", "large.safetensors", "page.gguf", "quants/one-Q8_0.gguf", "quants/two-F16.gguf", "sharded",
        "split/tiny-llama-split-00001-of-00003.gguf",
    }  # fmt: skip
    assert found["a/b/c/deep.gguf"].stamp.startswith("etag:")
    assert open_checkpoint(found["a/b/c/deep.gguf"].target).format == "gguf"
    (one,) = find_models(f"{bucket}/page.gguf")
    assert one.nbytes == 20


@pytest.mark.parametrize("address", ["s3://models/absent.gguf", "s3://models/absent/", "s3://no-such-bucket/x.gguf"])
def test_what_is_not_there_is_said_in_a_line(s3, bucket, address):  # noqa: F811
    with pytest.raises(NotFound) as error:
        open_checkpoint(address)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", [["show"], ["memory"], ["tensors"], ["fit", "--gpu", "24GiB"], ["audit"]])
def test_every_command_takes_an_address(s3, bucket, run_inspector, command):  # noqa: F811
    env = {**KEYS, "AWS_ENDPOINT_URL": s3.url, "AWS_ENDPOINT": s3.url}
    code, out, err = run_inspector([command[0], f"{bucket}/quants/one-Q8_0.gguf", *command[1:]], env=env)
    assert (code, err) == (0, "")
    assert "Q8_0" in out or "PASS" in out


def test_list_takes_a_bucket_and_names_the_page_in_it(s3, bucket, run_inspector):  # noqa: F811
    env = {**KEYS, "AWS_ENDPOINT_URL": s3.url, "AWS_ENDPOINT": s3.url}
    code, out, err = run_inspector(["list", bucket, "--json"], env=env)
    assert err == ""
    answer = json.loads(out)
    assert (code, answer["totals"]["n_models"], answer["totals"]["n_broken"]) == (1, 7, 1)
    row = next(m for m in answer["models"] if m["name"] == "split/tiny-llama-split-00001-of-00003.gguf")
    assert row["n_params"] == 45_216


# --- other stores ---------------------------------------------------------------------------------------------------


@pytest.fixture
def memory(files):
    """A folder in fsspec's own memory."""
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    fs.pipe_file("/m/x.gguf", (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes())
    fs.pipe_file("/m/sub/y.gguf", (files / "gguf" / "tiny-moe-q8_0.gguf").read_bytes())
    yield fs
    fs.store.clear()


def test_any_store_of_fsspec_is_a_target(memory, files):
    here = open_checkpoint(str(files / "gguf" / "tiny-llama-q8_0.gguf"))
    assert open_checkpoint("memory://m/x.gguf").tensors == here.tensors
    assert [m.name for m in find_models("memory://m")] == ["x.gguf", "sub/y.gguf"]


def test_a_file_that_shrinks_while_it_is_read_is_said(memory):
    source = FilesystemSource(memory, "/m/x.gguf", name="x.gguf", size=1 << 30, first=1 << 20)
    with pytest.raises(SourceError, match="its listing says"):
        source.read_at(0, 1 << 20)


def replaced(fs, data=None):
    """The file again, of the same size unless told otherwise, at another time."""
    fs.pipe_file("/m/x.gguf", data or bytes(reversed(fs.cat_file("/m/x.gguf"))))


def opened(fs, *, first):
    at = connect("memory://m/x.gguf")
    found = stat(at)
    return open_source(fs, at.path, name="x.gguf", size=found.nbytes, stamp=found.stamp, first=first)


def test_a_file_that_changes_between_two_ranges_is_an_error(memory):
    source = opened(memory, first=1000)
    source.read_at(0, 1000)
    replaced(memory)
    with pytest.raises(SourceError, match="changed while it was read"):
        source.read_at(1000, 1000)


@pytest.mark.parametrize("grown", [b"", b"more"])
def test_a_file_that_changes_before_its_only_range_is_an_error_in_the_end(memory, grown):
    source = opened(memory, first=1000)
    replaced(memory, memory.cat_file("/m/x.gguf") + grown if grown else None)
    source.read_at(0, 1000)
    with pytest.raises(SourceError, match="changed while it was read"):
        source.close()


def test_a_file_that_stays_as_it_is_is_looked_at_once_more_and_not_read_again(memory, monkeypatch):
    looked: list[str] = []
    info = type(memory).info
    monkeypatch.setattr(type(memory), "info", lambda fs, path, **kw: looked.append(path) or info(fs, path, **kw))
    with opened(memory, first=1 << 20) as source:
        source.read_at(0, 1000)
    assert len(looked) == 2, "before and after"


def replace_object(at, data):
    import obstore

    store, key = at.fs._at(at.path)
    obstore.put(store, key, data)


def test_an_object_that_is_replaced_between_two_ranges_is_an_error(s3, bucket, files):  # noqa: F811
    data = (files / "gguf" / "tiny-moe-q8_0.gguf").read_bytes()
    s3.put("/models/changing/a/x.gguf", data)
    at = connect(f"{bucket}/changing/a/x.gguf")
    found = stat(at)
    with open_source(at.fs, at.path, name="x", size=found.nbytes, stamp=found.stamp, first=100) as source:
        assert source.read_at(0, 100) == data[:100]
        assert source.read_at(100, 100) == data[100:200]
        replace_object(at, bytes(reversed(data)))
        with pytest.raises(SourceError, match="its ETag is another"):
            source.read_at(300, 100)
    (heads,) = [[path for method, path, _ in s3.requests if method == "HEAD"]]
    assert len(heads) == 1, "each answer says which object it is of"


def test_an_object_that_is_replaced_after_it_was_listed_is_an_error(s3, bucket, files, monkeypatch):  # noqa: F811
    data = (files / "gguf" / "tiny-moe-q8_0.gguf").read_bytes()
    s3.put("/models/changing/b/x.gguf", data)

    def listed_and_replaced(at, *, most):
        found = list_remote(at, most=most)
        replace_object(connect(f"{bucket}/changing/b/x.gguf"), data[:-1] + b"x")
        return found

    monkeypatch.setattr("inspector.checkpoint.remote.list_remote", listed_and_replaced)
    with pytest.raises(SourceError, match="changed while it was read"):
        open_checkpoint(f"{bucket}/changing/b")


def test_a_header_without_end_is_not_read(memory, monkeypatch):
    monkeypatch.setattr(prefix, "MAX_PREFIX", 10_000)
    source = FilesystemSource(memory, "/m/x.gguf", name="x.gguf", size=57_408)
    with pytest.raises(LimitExceeded):
        source.read_at(0, 20_000)


def test_a_folder_is_listed_within_bounds(memory):
    for i in range(30):
        memory.pipe_file(f"/many/{i}.gguf", b"x")
    entries, complete = list_remote(connect("memory://many"), most=10)
    assert (len(entries), complete) == (10, False)


MISSING = {
    "gs://bucket/x.gguf": "pip install gcsfs, or pip install 'weights-inspector[clouds]'",
    "s3://bucket/x.gguf": "pip install s3fs, or pip install 'weights-inspector[clouds]'",
    "az://bucket/x.gguf": "pip install adlfs, or pip install 'weights-inspector[clouds]'",
    "sftp://host/x.gguf": "pip install paramiko",
}


@pytest.mark.parametrize("address", MISSING)
def test_a_package_that_is_missing_is_named(monkeypatch, address):
    from fsspec.registry import _registry

    for name in ("s3fs", "gcsfs", "adlfs", "paramiko", "obstore"):
        monkeypatch.setitem(sys.modules, name, None)
    for scheme in ("s3", "gs", "az", "sftp"):  # where they are kept once they were used
        monkeypatch.delitem(_registry, scheme, raising=False)
    with pytest.raises(InspectorError) as error:
        open_checkpoint(address)
    assert error.value.hint == MISSING[address]


def test_where_credentials_are_missing_that_is_said():
    def refuse():
        raise RuntimeError("Generic S3 error: PUT http://169.254.169.254/latest/api/token: 403\nDebug source: x")

    with pytest.raises(AccessDenied, match="no credentials"):
        guarded(refuse, "s3://bucket/x.gguf")


@pytest.mark.parametrize("address", ["nonsense://x/y.gguf", "simplecache::memory://m/x.gguf", "zip://x::memory://m"])
def test_a_scheme_that_nobody_knows_is_an_error(address):
    with pytest.raises(InspectorError) as error:
        open_checkpoint(address)
    assert "\n" not in str(error.value)


def test_a_local_file_loads_nothing_of_it(run_inspector, files):
    import subprocess

    path = str(files / "safetensors" / "llama-tied")
    code = f"import sys\nfrom inspector.__main__ import run\nrun(['show', {path!r}])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert not {"fsspec", "obstore", "huggingface_hub"} & set(done.stdout.splitlines()[-1].split())
