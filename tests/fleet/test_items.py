"""What there is to scan, seen from outside: what may be opened, and what tells that it has changed."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from inspector.fleet.items import items
from inspector.fleet.options import ScanOptions
from inspector.fleet.work import scan_chunk

Q8 = "gguf/tiny-llama-q8_0.gguf"


def one(root):
    (item,) = items([str(root)])
    return item


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "model.safetensors"])
def test_a_stamp_tells_that_a_document_or_the_weights_have_changed(files, tmp_path, name):
    shutil.copytree(files / "safetensors" / "llama-tied", tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text("x")
    before = one(tmp_path / "m")
    assert before.stamp == one(tmp_path / "m").stamp != ""
    later = max(entry.stat().st_mtime_ns for entry in (tmp_path / "m").iterdir()) + 10**9
    os.utime(tmp_path / "m" / name, ns=(later, later))
    assert one(tmp_path / "m").stamp != before.stamp


def test_a_stamp_tells_another_size_at_the_same_time(files, tmp_path):
    shutil.copy(files / Q8, tmp_path / "x.gguf")
    os.utime(tmp_path / "x.gguf", ns=(1, 1))
    before = one(tmp_path)
    with (tmp_path / "x.gguf").open("ab") as file:
        file.write(b"\0")
    os.utime(tmp_path / "x.gguf", ns=(1, 1))
    assert one(tmp_path).stamp != before.stamp


@pytest.mark.parametrize("target", ["../root-other/x.gguf", "../x.gguf", "gone.gguf", "link.gguf"])
def test_a_link_that_must_not_be_followed_is_not_opened(files, tmp_path, target):
    for folder in ("root", "root-other"):
        (tmp_path / folder).mkdir()
    for name in ("x.gguf", "root-other/x.gguf"):
        shutil.copy(files / Q8, tmp_path / name)
    (tmp_path / "root" / "link.gguf").symlink_to(target)
    item = one(tmp_path / "root")
    ((_, (packed,)),) = scan_chunk([(0, item)], ScanOptions())
    assert '"error_kind":"source"' in packed.row
    assert '"error":"a link that leads ' in packed.row
    assert '"arch":null' in packed.row


def test_the_hash_of_a_blob_is_its_models(files, tmp_path):
    digits = "ab" * 32
    shutil.copy(files / Q8, tmp_path / f"sha256-{digits}")
    item = one(tmp_path)
    ((_, (packed,)),) = scan_chunk([(0, item)], ScanOptions(audit=False))
    assert json.loads(packed.row)["sha256"] == digits
    for name in ("one-Q8_0.gguf", "two-Q8_0.gguf"):
        (tmp_path / "several").mkdir(exist_ok=True)
        shutil.copy(files / Q8, tmp_path / "several" / name)
    several = item.replace(target=str(tmp_path / "several"))
    ((_, rows),) = scan_chunk([(0, several)], ScanOptions(audit=False))
    assert [json.loads(packed.row)["sha256"] for packed in rows] == [None, None], "of one of several it says nothing"
