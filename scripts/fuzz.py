"""Change bytes of sound files and folders until something breaks: a traceback, a wrong verdict, a slow answer.

Each round takes a seed, changes it (bits, whole words, cut, doubled, spliced with another seed), and has it read and
audited. What must hold: no exception but FormatError and SourceError; an audit never raises; safe_open and the audit
agree whether a safetensors file loads; no answer takes two seconds of CPU. What breaks is kept in --keep.

    python scripts/fuzz.py --minutes 10 [--seed 1] [--keep build/fuzz]
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import json
import os
import random
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]

import audit_builder as make  # noqa: E402 - after the path is set

from inspector.audit.runner import run  # noqa: E402
from inspector.audit.subject.local import gather  # noqa: E402
from inspector.errors import FormatError, SourceError  # noqa: E402
from inspector.formats import read  # noqa: E402
from inspector.sources.memory import MemorySource  # noqa: E402

MAX_SECONDS = 2.0
WORDS = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**61, 2**63 - 1, 2**63, 2**64 - 1]
TEXT = [
    b"NaN",
    b"-0",
    b"1e400",
    b"true",
    b"null",
    b"\\ud800",
    b"[[[[",
    b"}",
    b'"',
    b",",
    b"__metadata__",
    b"F32",
    b"../",
]


def seeds() -> dict[str, bytes]:
    """Small sound files of both formats, and documents."""
    found = {
        "a.gguf": make.gguf_bytes(),
        "b.gguf": make.gguf_bytes(version=2),
        "c.gguf": make.gguf_bytes(order=">"),
        "a.safetensors": make.st_bytes(make.llama_tensors(), metadata={"format": "pt"}),
        "b.safetensors": make.st_bytes({"a": ("F32", (2, 3)), "b": ("U8", (5,)), "c": ("F16", ())}),
        "config.json": json.dumps(make.CONFIG).encode(),
    }
    for path in glob.glob(os.path.join(ROOT, "fixtures", "files", "*", "*")):
        if os.path.isfile(path) and os.path.getsize(path) < 200_000:
            with open(path, "rb") as file:
                found[os.path.basename(path)] = file.read()
    return found


def change(raw: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The bytes after one to six changes, most of them in the header."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(max(1, min(len(data), rng.choice([16, 64, 1024, 1 << 20]))))
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + 8] = rng.choice(WORDS).to_bytes(8, rng.choice(["little", "big"]))
        elif kind == 2:
            data[at : at + 4] = (rng.choice(WORDS) & 0xFFFFFFFF).to_bytes(4, "little")
        elif kind == 3:
            del data[at : at + rng.choice([1, 4, 8, 100])]
        elif kind == 4:
            data[at:at] = data[at : at + rng.choice([1, 8, 40, 300])]
        elif kind == 5:
            data[at:at] = rng.choice(TEXT)
        elif kind == 6:
            del data[rng.randrange(len(data) + 1) :]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            data[at : at + 64] = other[start : start + 64]
    return bytes(data)


def loads(path: str) -> bool:
    """Whether the reference reader takes it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            list(file.keys())
    except SafetensorError:
        return False
    return True


def check_reader(raw: bytes, name: str) -> None:
    """Strict and lenient reading: a result, or one of the known errors."""
    for strict in (True, False):
        with contextlib.suppress(FormatError, SourceError):
            read(MemorySource(raw, name=name), strict=strict)


def check_audit(raw: bytes, name: str, folder: str) -> str:
    """The audit of a file, alone and as part of a model; returns what is wrong with its answer, or ""."""
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(raw)
    report = run(gather(path), guard=False, deep=True)
    json.dumps([f.as_dict() for f in report.findings])
    run(gather(folder), guard=False, hashes=True)
    if name.endswith(".safetensors") and raw[:4] != b"GGUF" and loads(path) != (report.verdict != "fail"):
        return f"safe_open and the audit disagree: {[(f.code, f.message) for f in report.findings]}"
    return ""


def attempt(raw: bytes, name: str) -> str:
    """One round; what went wrong, or ""."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if name.endswith(".json"):
            make.llama_folder(folder)
        try:
            check_reader(raw, name)
            wrong = check_audit(raw, name, folder)
        except Exception:
            return traceback.format_exc()
    took = time.process_time() - start
    return wrong or (f"{took:.1f} seconds of CPU" if took > MAX_SECONDS else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", default=os.path.join(ROOT, "build", "fuzz"))
    args = parser.parse_args()
    rng, pool = random.Random(args.seed), seeds()
    names, others = sorted(pool), list(pool.values())
    end, n, kept = time.monotonic() + 60 * args.minutes, 0, set()
    while time.monotonic() < end:
        name = rng.choice(names)
        raw = change(pool[name], others, rng)
        wrong = attempt(raw, name)
        n += 1
        if not wrong:
            continue
        what = "\n".join(wrong.splitlines()[-3:])
        digest = hashlib.sha256((name + what[-200:]).encode()).hexdigest()[:12]
        if digest not in kept:
            kept.add(digest)
            os.makedirs(args.keep, exist_ok=True)
            with open(os.path.join(args.keep, f"{digest}-{name}"), "wb") as file:
                file.write(raw)
            print(f"{digest}-{name}: {what}", file=sys.stderr)
    print(f"{n:,} rounds, {len(kept)} kinds of failure")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
