"""Write a fleet: thousands of small models in folders, both formats, one in a hundred broken; the same at every run.

    make_fleet.py FOLDER [--models N] [--broken SHARE]

Headers are those of fixtures/files, which the formats' own writers wrote, data sections are holes.
Each folder holds one model: `org-03/model-00123/model-Q8_0.gguf`, or model.safetensors with its config.json.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = os.path.join(ROOT, "fixtures", "files")
GGUFS = ("tiny-llama-q8_0", "tiny-moe-q8_0", "tiny-llama-align-128")
FOLDERS = ("llama-tied", "llama-untied", "mixtral")
PER_FOLDER = 100


class Header(NamedTuple):
    """A file's bytes up to its data, and its size."""

    data: bytes
    size: int


def gguf_header(name: str) -> Header:
    """All that is before the tensors' data."""
    from inspector.formats.gguf import read_gguf
    from inspector.sources.local import LocalSource

    path = os.path.join(FILES, "gguf", f"{name}.gguf")
    with LocalSource(path) as source:
        file = read_gguf(source)
        return Header(source.read_at(0, file.header_bytes), file.size)


def safetensors_header(name: str) -> Header:
    path = os.path.join(FILES, "safetensors", name, "model.safetensors")
    with open(path, "rb") as file:
        length = file.read(8)
        return Header(length + file.read(struct.unpack("<Q", length)[0]), os.path.getsize(path))


def write(path: str, header: Header, *, size: int | None = None) -> None:
    with open(path, "wb") as file:
        file.write(header.data)
        file.truncate(header.size if size is None else size)


def break_file(path: str, n: int) -> None:
    """One of four ways in which downloads break."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        if n % 4 == 0:
            file.truncate(size - size // 3)
        elif n % 4 == 1:
            file.truncate(40)
        elif n % 4 == 2:
            file.write(b"<!DOCTYPE html><html><title>404</title></html>")
        else:
            file.truncate(0)


def make(folder: str, n_models: int, *, broken: float = 0.01) -> list[str]:
    """Writes all models; the paths of those that are broken."""
    ggufs, folders = [gguf_header(n) for n in GGUFS], [safetensors_header(n) for n in FOLDERS]
    configs = [_config(n) for n in FOLDERS]
    every = round(1 / broken) if broken else 0
    bad: list[str] = []
    for i in range(n_models):
        own = os.path.join(folder, f"org-{i // PER_FOLDER:03}", f"model-{i:05}")
        os.makedirs(own, exist_ok=True)
        kind = i // 2 % 3
        if i % 2:
            path = os.path.join(own, "model.safetensors")
            write(path, folders[kind])
            with open(os.path.join(own, "config.json"), "w", encoding="utf-8") as file:
                json.dump(configs[kind], file)
        else:
            path = os.path.join(own, f"model-{i:05}-Q8_0.gguf")
            write(path, ggufs[kind])
        if every and i % every == every // 2:
            break_file(path, len(bad))
            bad.append(path)
    return bad


def _config(name: str) -> object:
    with open(os.path.join(FILES, "safetensors", name, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--broken", type=float, default=0.01, help="share of broken ones (default 0.01)")
    args = parser.parse_args()
    bad = make(args.folder, args.models, broken=args.broken)
    print(f"{args.models:,} models, {len(bad):,} of them broken")


if __name__ == "__main__":
    main()
