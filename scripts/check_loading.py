"""Damages small models of every architecture, asks llama.cpp b11434 whether it loads them, and asks us.

    python scripts/check_loading.py PROBE LIBRARIES [--seed N] [--write]

PROBE: scripts/cpu/probe.cpp, built for LIBRARIES, the folder of libllama.so (scripts/engines.py does it). Each file
is asked for in a process of its own, since a refusal may be an abort. Files come from
fixtures/llamacpp-synthetic.jsonl.xz (headers that the engine loads) and from a tiny model with a vocabulary; a damage
is one change that tests can repeat on the header alone. `--write` keeps the answers in fixtures/loading.jsonl.xz.
Exit code 1 where the two disagree.
"""

from __future__ import annotations

import argparse
import base64
import json
import lzma
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from inspector.architectures.loading import followed
from inspector.dtypes import DTYPES
from inspector.formats.gguf import read_gguf
from inspector.formats.modelfile import TensorInfo
from inspector.sources.memory import MemorySource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SYNTHETIC = ROOT / "fixtures" / "llamacpp-synthetic.jsonl.xz"
ANSWERS = ROOT / "fixtures" / "loading.jsonl.xz"
TYPES = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"),
         "f32": (6, "f"), "bool": (7, "?"), "str": (8, ""), "u64": (10, "Q"), "i64": (11, "q"),
         "f64": (12, "d")}  # fmt: skip


class Header:
    """A header taken apart: keys in order, each with its stored type and value; tensors with shape and type."""

    def __init__(self, raw: bytes) -> None:
        model = read_gguf(MemorySource(raw, name="m.gguf"), strict=False)
        self.arch = str(model.metadata["general.architecture"])
        self.keys = {k: (model.metadata_types[k], v) for k, v in model.metadata.items()}
        self.tensors = {t.name: (t.dtype.name if t.dtype else "F32", t.shape) for t in model.tensors}

    def damage(self, change: list[Any]) -> None:
        """One change: drop or set of a key; lose, reshape or add of a tensor."""
        what, name, *rest = change
        if what == "drop":
            del self.keys[name]
        elif what == "set":
            self.keys[name] = (rest[0], tuple(rest[1]) if isinstance(rest[1], list) else rest[1])
        elif what == "lose":
            del self.tensors[name]
        elif what == "reshape":
            self.tensors[name] = (self.tensors[name][0], tuple(rest[0]))
        elif what == "add":
            self.tensors[name] = ("F32", tuple(rest[0]))

    def ours(self) -> str:
        """Our answer: "" where it loads, else why not."""
        tensors = {n: TensorInfo(n, shape, DTYPES[kind], 0, 0) for n, (kind, shape) in self.tensors.items()}
        metadata, types = ({k: v[i] for k, v in self.keys.items()} for i in (1, 0))
        found = followed(metadata, types, tensors, arch=str(metadata["general.architecture"]))
        return "" if found is None else found.words

    def write(self, path: str) -> None:
        """A file with this header, its data a hole."""
        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))]
        for key, (kind, value) in self.keys.items():
            out += [_text(key), _value(kind, value)]
        at = 0
        for name, (kind, shape) in self.tensors.items():
            dtype = DTYPES[kind]
            dims = tuple(reversed(shape))
            out += [_text(name), struct.pack(f"<I{len(dims)}qiQ", len(dims), *dims, dtype.ggml_id, at)]
            at += -(-dtype.nbytes(shape) // 32) * 32
        head = b"".join(out)
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(len(head) + -len(head) % 32 + at)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: str, value: Any) -> bytes:
    if kind.startswith("arr["):
        elem = kind[4:-1]
        number, code = TYPES[elem]
        body = b"".join(_text(x) if elem == "str" else struct.pack("<" + code, x) for x in value)
        return struct.pack("<iiQ", 9, number, len(value)) + body
    number, code = TYPES[kind]
    return struct.pack("<i", number) + (_text(value) if kind == "str" else struct.pack("<" + code, value))


# --- damages ---------------------------------------------------------------------------------------------------------

OTHER_TYPES = {"u32": ("u64", "i32", "u16", "f32", "str"), "f32": ("f64", "u32"), "bool": ("u8", "u32"),
               "str": ("u32",), "i32": ("u32",), "u64": ("u32",)}  # fmt: skip


def damages(header: Header, rng: random.Random) -> Iterator[list[Any]]:
    """Some of each kind, of what this architecture has."""
    own = [k for k in header.keys if k.startswith(header.arch + ".")]
    plain = [k for k in own if not header.keys[k][0].startswith("arr")]
    arrays = [k for k in own if header.keys[k][0].startswith("arr")]
    for key in rng.sample(own, min(3, len(own))):
        yield ["drop", key]
    for key in rng.sample(plain, min(3, len(plain))):
        kind, value = header.keys[key]
        other = rng.choice(OTHER_TYPES[kind])
        yield [
            "set",
            key,
            other,
            "x" if other == "str" else 1 if isinstance(value, str) or not 0 <= value < 60_000 else int(value),
        ]
    for key in rng.sample(plain, min(2, len(plain))):
        kind, value = header.keys[key]
        if kind == "u32":
            yield ["set", key, "u32", rng.choice([0, value + 1, value * 2, 1])]
    for key in arrays:
        kind, value = header.keys[key]
        yield ["set", key, kind, list(value[:-1])]
        yield ["set", key, kind, [*value, value[-1]]]
    key = rng.choice(plain)
    yield ["set", key, "arr[u32]", [1, 2, 3]]
    names = list(header.tensors)
    for name in rng.sample(names, min(3, len(names))):
        yield ["lose", name]
    for name in rng.sample(names, min(2, len(names))):
        shape = header.tensors[name][1]
        if shape:
            yield ["reshape", name, [shape[0] + 1, *shape[1:]]]
            yield ["reshape", name, [1, *shape]] if len(shape) < 4 else ["lose", name]
    yield ["add", "blk.0.nobody.weight", [32]]
    yield ["add", "v.blk.0.attn_q.weight", [32, 32]]
    if f"{header.arch}.nextn_predict_layers" not in header.keys:
        yield ["set", f"{header.arch}.nextn_predict_layers", "u32", 1]


TINY = Header(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + _text("general.architecture") + _value("str", "llama"))
TINY.keys |= {
    "llama.block_count": ("u32", 1), "llama.context_length": ("u32", 64), "llama.embedding_length": ("u32", 32),
    "llama.feed_forward_length": ("u32", 64), "llama.attention.head_count": ("u32", 4),
    "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5), "tokenizer.ggml.model": ("str", "llama"),
    "tokenizer.ggml.tokens": ("arr[str]", ("<unk>", "<s>", "</s>", "<0x0A>", *(f"t{i}" for i in range(28)))),
    "tokenizer.ggml.scores": ("arr[f32]", (0.0,) * 32), "tokenizer.ggml.token_type": ("arr[i32]", (1,) * 32),
    "tokenizer.ggml.bos_token_id": ("u32", 1),
}  # fmt: skip
TINY.tensors |= {
    "token_embd.weight": ("F32", (32, 32)), "output_norm.weight": ("F32", (32,)),
    **{f"blk.0.{n}.weight": ("F32", s) for n, s in {
        "attn_norm": (32,), "attn_q": (32, 32), "attn_k": (32, 32), "attn_v": (32, 32), "attn_output": (32, 32),
        "ffn_norm": (32,), "ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}.items()},
}  # fmt: skip
AT = "tokenizer.ggml."
WORDS = list(TINY.keys[AT + "tokens"][1])
VOCABULARY: list[list[Any]] = [
    ["set", AT + "model", "str", "none"], ["set", AT + "model", "str", "mystery"], ["set", AT + "model", "u32", 1],
    ["drop", AT + "model"], ["drop", AT + "tokens"], ["set", AT + "tokens", "arr[u32]", [1] * 32],
    ["set", AT + "tokens", "arr[str]", WORDS[:-1]], ["set", AT + "tokens", "arr[str]", [*WORDS[:-1], "t0"]],
    ["set", AT + "tokens", "arr[str]", [*WORDS[:-2], "", ""]], ["set", AT + "tokens", "arr[str]", [*WORDS, "more"]],
    ["drop", AT + "scores"], ["set", AT + "scores", "arr[f32]", [0.0] * 31],
    ["set", AT + "scores", "arr[f32]", [0.0] * 33], ["set", AT + "scores", "arr[f64]", [0.0] * 32],
    ["set", AT + "scores", "arr[i32]", [0] * 32], ["drop", AT + "token_type"],
    ["set", AT + "token_type", "arr[u32]", [1] * 32], ["set", AT + "token_type", "arr[i32]", [1] * 31],
    ["set", AT + "bos_token_id", "i32", 1], ["set", AT + "bos_token_id", "u32", 99],
    ["set", AT + "eos_token_id", "u64", 2], ["set", AT + "add_bos_token", "u32", 1],
    ["set", AT + "add_bos_token", "bool", True], ["set", AT + "token_type_count", "u64", 2],
    ["set", AT + "pre", "str", "no-such"], ["set", AT + "pre", "u32", 1], ["set", AT + "model", "str", "gpt2"],
    ["set", AT + "add_space_prefix", "u8", 1], ["set", AT + "suppress_tokens", "arr[u32]", [1]],
    ["set", "general.name", "u32", 1], ["set", "general.file_type", "i32", 1], ["set", "split.count", "u32", 1],
    ["set", "general.architecture", "str", "gptj"],
]  # fmt: skip


def headers() -> Iterator[tuple[int, Header]]:
    """The bases: -1 is the tiny model, else a row of the synthetic fixture."""
    with lzma.open(SYNTHETIC, "rt") as file:
        for i, line in enumerate(file):
            yield i, Header(base64.b64decode(json.loads(line)["header"]))


def copy_of(header: Header) -> Header:
    """A header that may be damaged."""
    made = object.__new__(Header)
    made.arch, made.keys, made.tensors = header.arch, dict(header.keys), dict(header.tensors)
    return made


# --- the engine ------------------------------------------------------------------------------------------------------


def theirs(probe: str, libraries: str, path: str) -> str:
    """The engine's answer: "" where it loads, else its message."""
    env = os.environ | {"LD_LIBRARY_PATH": libraries, "GGML_NO_BACKTRACE": "1"}
    done = subprocess.run([probe, "--load", path], capture_output=True, check=False, timeout=120, env=env)
    if done.returncode == 0:
        return ""
    log = done.stderr.decode("utf-8", "replace")
    found = re.findall(
        r"error loading model: (.*(?:\n(?![a-z_]+: |\d).*)?)|(GGML_ASSERT\(.*\) failed)|(\S+: failed .*)", log
    )
    words = next((w for row in found for w in row if w), "")
    return words.strip() or f"ended with {done.returncode}"


def cases(seed: int) -> Iterator[tuple[int, list[Any]]]:
    """(base, damage): every damage of the vocabulary, and some of each kind for every architecture."""
    yield -1, ["none", ""]
    yield from ((-1, change) for change in VOCABULARY)
    seen = set()
    for i, header in headers():
        if header.arch not in seen:
            seen.add(header.arch)
            rng = random.Random(f"{seed} {header.arch}")
            yield i, ["none", ""]
            yield from ((i, change) for change in damages(header, rng))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("probe")
    parser.add_argument("libraries")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="an architecture")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    known = dict(headers()) | {-1: TINY}
    rows, differ = [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.gguf")
        for i, change in cases(args.seed):
            if args.only and known[i].arch != args.only:
                continue
            header = copy_of(known[i])
            header.damage(change)
            header.write(path)
            answer, own = theirs(args.probe, args.libraries, path), header.ours()
            rows.append({"base": i, "damage": change, "refused": answer})
            if bool(answer) != bool(own):
                differ += 1
                print(f"DIFFER {header.arch} {i} {change}\n   engine: {answer!r}\n   ours:   {own!r}")
            elif answer and own.split("; expected")[0] not in answer:
                print(f"words  {header.arch} {i} {change}\n   engine: {answer!r}\n   ours:   {own!r}")
    refused = sum(bool(row["refused"]) for row in rows)
    print(f"{len(rows)} files, {refused} refused by the engine, {differ} answers differ")
    if args.write:
        with lzma.open(ANSWERS, "wt") as file:
            file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
