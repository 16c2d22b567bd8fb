"""Ask llama-quantize --dry-run about GGUF files under random options; writes rows like quantize_options.jsonl.gz.

usage: measure_quantize.py LLAMA_QUANTIZE OUT.jsonl.gz FILE.gguf…   (files may be sparse: only headers are read)
The binary is llama.cpp b11434's. Options are drawn from a generator seeded with each file's name.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from typing import Any

from inspector.dtypes import DTYPES
from inspector.formats.gguf import read_gguf
from inspector.quantization.mix_targets import QUANT_TARGETS
from inspector.sources.local import LocalSource

LINE = re.compile(r"\[ *\d+/ *\d+\] (\S+) +- \[[^\]]*\], type = +(\S+), size = .*?(?:\((\w+)\))?$", re.MULTILINE)
TOTAL = re.compile(r"quant size += +([\d.]+) MiB")
ERROR = re.compile(r"failed to quantize: (.*)")
PATTERNS = ("attn_q", "ffn_.*_exps", r"blk\.[0-3]\.", "token_embd", "output", "^blk.*v", "per_layer", "weight$")
KEYS = (".block_count", ".expert_count", ".head_count", ".head_count_kv", ".nextn_predict_layers", ".num_loops")


def draw(rng: random.Random) -> tuple[dict[str, object], list[str]]:
    """Options for `predict_mix`, and the same for the command line."""
    types = [d.name for d in DTYPES.values() if d.ggml_id is not None]
    options: dict[str, object] = {}
    arguments: list[str] = []
    for name, flag in (("pure", "--pure"), ("leave_output", "--leave-output-tensor")):
        if rng.random() < 0.15:
            options[name] = True
            arguments.append(flag)
    for name, flag in (
        ("output_tensor_type", "--output-tensor-type"),
        ("token_embedding_type", "--token-embedding-type"),
    ):
        if rng.random() < 0.2:
            options[name] = dtype = rng.choice(types)
            arguments += [flag, dtype]
    if rng.random() < 0.25:
        pairs = [(rng.choice(PATTERNS), rng.choice(types)) for _ in range(rng.randint(1, 3))]
        options["tensor_types"] = pairs
        arguments += [a for pattern, dtype in pairs for a in ("--tensor-type", f"{pattern}={dtype}")]
    return options, arguments


def arguments_of(options: dict[str, Any], *, imatrix: str = "") -> list[str]:
    """The command line of what `draw` drew; `imatrix`: the file for options that have one."""
    words: list[str] = []
    for name, value in options.items():
        if name == "tensor_types":
            words += [x for pattern, dtype in value for x in ("--tensor-type", f"{pattern}={dtype}")]
        elif name == "leave_output":
            words.append("--leave-output-tensor")
        elif name == "imatrix":
            words += ["--imatrix", imatrix]
        else:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    return words


def dry_run(binary: str, path: str, to: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and all that it printed."""
    env = {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(binary), "GGML_NO_BACKTRACE": "1"}
    words = [binary, "--dry-run", *arguments, path, to]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=env, check=False)
    return done.returncode, done.stdout + done.stderr


def commonest(kinds: list[str], before: str | None = None) -> str | None:
    """The type that most tensors have; among equals the one of `before`."""
    counts = Counter(kinds)
    most = max(counts.values(), default=0)
    return before if before and counts[before] == most else min((k for k in counts if counts[k] == most), default=None)


def run(
    binary: str, path: str, to: str, options: dict[str, Any], arguments: list[str], *, default: str | None = None
) -> dict[str, Any]:
    """One dry run, as a row; `default`: which of the commonest types is left out."""
    code, text = dry_run(binary, path, to, arguments)
    types = {m[1]: (m[3] or m[2]).upper() for m in LINE.finditer(text)}
    kinds = list(types.values())
    default = commonest(kinds, default)
    total, error = TOTAL.search(text), ERROR.search(text)
    return {
        "to": to,
        "options": options,
        "rc": code,
        "error": error[1].strip() if error else None,
        "mib": float(total[1]) if total else None,
        "imatrix": "require an imatrix" in text,
        "default": default,
        "types": {n: d for n, d in types.items() if d != default} if code == 0 else {},
    }


def measure(binary: str, path: str, *, n_runs: int = 3) -> dict[str, object]:
    """A file's tensors and what became of them under a few targets and options."""
    file = read_gguf(LocalSource(path))
    rng = random.Random(os.path.basename(path))
    drawn = [(to, *draw(rng)) for to in rng.sample(sorted(QUANT_TARGETS), n_runs)]
    return {
        "arch": file.metadata["general.architecture"],
        "keys": {k: getattr(v, "head", v) for k, v in file.metadata.items() if k.endswith(KEYS)},
        "tensors": [[t.name, list(t.shape), t.dtype.name if t.dtype else t.dtype_name] for t in file.tensors],
        "runs": [run(binary, path, to, options, arguments) for to, options, arguments in drawn],
    }


def main() -> None:
    """See the module's first words."""
    binary, out, *paths = sys.argv[1:]
    with gzip.GzipFile(out, "wb", mtime=0) as sink:
        for path in paths:
            sink.write((json.dumps(measure(binary, path), separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
