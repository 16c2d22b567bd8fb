"""Damages model files in every way it knows and runs every command on them: nothing but an answer or one line may come.

    python scripts/fuzz_cli.py --seconds 600 --seed 1 --jobs 2 --keep /tmp/found

Each case is a seed: the same number makes the same file and the same commands again (`--case N` shows one).
What is not allowed: a traceback, an error of more than one line or with control characters in it, an exit code other
than 0, 1 and 2, JSON that does not parse, a check of `audit` that breaks, more than 2 s of CPU, more than 300 MB.
Cases that break a rule are written to `--keep`, one folder for each place in the code.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import faulthandler
import gzip
import io
import json
import lzma
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import gguf_builder as gb  # noqa: E402

from inspector.formats import read  # noqa: E402
from inspector.formats.modelfile import LongArray  # noqa: E402
from inspector.sources.memory import MemorySource  # noqa: E402

CPU_SECONDS = 2.0
UNGUARDED = "audit without a net"
PATIENCE = {"fit": 5, "quantize-size": 2, "report": 10}  # many questions at once, of up to 80,000 tensors
MEMORY_NBYTES = 300 << 20
KINDS = {name: kind for kind, name in gb.NAMES.items()}


class TooSlow(BaseException):
    """Out of CPU time. No command may catch it."""


class Broken(Exception):
    """An answer that breaks a rule."""


# --- running -------------------------------------------------------------------------------------------------------


def check(code: object, out: str, err: str, *, as_json: bool) -> None:
    """Raises Broken where an ending is not one of those a command may have."""
    if code not in (0, 1, 2):
        raise Broken(f"exit code {code!r}")
    lines = err.split("\n")
    if lines.pop() or any(not x.startswith(("error: ", "hint: ")) for x in lines):
        raise Broken(f"stderr: {err!r}")
    if (code == 2) != bool(lines):
        raise Broken(f"exit code {code} with stderr {err!r}")
    for line in (*lines, *out.split("\n")):
        if any((c < " " or "\x7f" <= c < "\xa0") for c in line) or any(c in line for c in "\u202e\u2066\u2028\ud800"):
            raise Broken(f"control characters: {line!r}")
    if "this check itself failed" in out:
        raise Broken(next(x for x in out.split("\n") if "this check itself failed" in x))
    if as_json and out:
        json.loads(out, parse_constant=lambda name: (_ for _ in ()).throw(Broken(f"{name} in JSON")))


def run_one(argv: list[str], *, seconds: float = CPU_SECONDS) -> tuple[int, str, str]:
    """One command in this process. Raises what escapes it, TooSlow, and Broken."""
    from inspector.cli.group import run_command_line
    from inspector.cli.outcome import guarded

    def stop(*_: object) -> None:
        raise TooSlow(f"more than {seconds} s")

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = guarded(lambda: _audit(argv[1])) if argv[0] == UNGUARDED else run_command_line(argv)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    check(code, out.getvalue(), err.getvalue(), as_json="--json" in argv)
    return code, out.getvalue(), err.getvalue()


def _audit(target: str) -> int:
    """The rules without the net under them, so that one that breaks shows where."""
    from inspector.audit.runner import run
    from inspector.audit.subject.local import gather

    run(gather(target), guard=False)
    return 0


def _small(target: str) -> bool:
    """Whether reading every value is a matter of a moment."""
    return not os.path.isfile(target) or os.path.getsize(target) < 10 << 20


def commands(target: str, original: str, page: str) -> list[list[str]]:
    """Every question there is about one model. `original`: the same before it was damaged; `page`: a scratch file."""
    memory = ["memory", target, "--json", "--engine"]
    return [
        ["show", target],
        ["show", target, "--json"],
        ["tensors", target],
        ["tensors", target, "--json"],
        ["tensors", target, "--by", "layer"],
        ["tensors", target, "--by", "role", "--json"],
        ["tensors", target, "--csv", "--sort", "size"],
        ["meta", target],
        ["meta", target, "--full", "--json"],
        *([*memory, e] for e in ("textbook", "llama.cpp", "vllm", "transformers")),
        ["memory", target, "-e", "llama.cpp", "--gpu", "2x8GiB", "-ctk", "q8_0", "-ctv", "q8_0", "-c", "8192"],
        ["memory", target, "-e", "llama.cpp", "--layers", "--server", "-c", "100000", "--swa-full"],
        ["memory", target, "-e", "llama.cpp", "-ngl", "2", "--gpu", "24GiB", "-fa", "off", "-np", "3", "-ub", "64"],
        ["memory", target, "-e", "vllm", "--gpu", "24GiB", "-np", "8", "--max-model-len", "4k", "--kv-dtype", "fp8"],
        ["memory", target, "-e", "transformers", "-c", "5000", "--cache", "static"],
        ["memory", target, "-e", "transformers", "-c", "5000", "--attn", "eager", "--json"],
        ["memory", target, "-e", "textbook", "--kv-form", "heads", "-c", "4k"],
        ["memory", target, "--sweep", "ctx"],
        ["quantize-size", target, "--json"],
        ["quantize-size", target, "--to", "Q4_K_M,IQ2_XXS,nf4,gptq,awq,fp8,mxfp4", "--tensors"],
        ["quantize-size", target, "--to", "nf4", "--lora-rank", "16"],
        ["diff", original, target, "--json"],
        ["diff", target, original],
        [UNGUARDED, target],
        ["audit", target, "--json"],
        ["audit", target, *(("--deep", "--hash") if _small(target) else ())],
        ["audit", target, "--sarif"],
        ["report", target, "-o", page],
        ["fit", target, "--gpu", "8GiB", "--json"],
        ["fit", target, "--gpu", "2xrtx4090"],
    ]


# --- damage to bytes -----------------------------------------------------------------------------------------------

SIZES = (0, 1, 2, 3, 127, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 48, (1 << 63) - 1, 1 << 63,
         (1 << 64) - 1)  # fmt: skip


def damage(raw: bytes, rng: random.Random, *, within: int) -> bytes:
    """`raw` with one or a few places of its first `within` bytes changed, gone, doubled, or cut off."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(max(min(within, len(data)), 1))
        kind = rng.randrange(8)
        if kind == 0:
            data[at : at + 1] = bytes((rng.randrange(256),))
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + rng.choice((1, 1, 4, 8, 100))]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 1, 4, 8, 100)))
        elif kind == 5:
            data[at : at + 8] = struct.pack("<Q", rng.choice(SIZES))
        elif kind == 6:
            data[at : at + 4] = struct.pack("<I", rng.choice(SIZES) & 0xFFFFFFFF)
        else:
            end = at + rng.choice((1, 8, 64))
            data[at:at] = data[at:end]
    return bytes(data)


# --- damage to values ----------------------------------------------------------------------------------------------


def strange(rng: random.Random, old: Any = None) -> Any:
    """A value that nobody expects in a config.json."""
    near = [old * 2, old + 1, old - 1, -old, old // 2] if isinstance(old, int) else []
    return rng.choice(
        [0, 1, 2, 3, 7, 64, 1 << 31, 1 << 63, 1 << 64, 10**30, -1, -(1 << 63), 0.0, 1.5, -0.5, 1e308, True, False, None,
         "", "x", "64", "\u202e\x1b[31m", "llama", [], [0], [1, 2, 3], [None], ["x"], [[1]], {}, {"a": 1},
         {"type": 1}, [0] * 10_000, list(range(300)), ["full_attention", "sliding_attention"], *near]
    )  # fmt: skip


def mutate_json(value: Any, rng: random.Random) -> Any:
    """The value with a few of its parts, at any depth, replaced, removed or added."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        places = _places(value)
        if not places:
            return strange(rng)
        box, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del box[key]
        elif kind == 1 and isinstance(box, dict):
            box[rng.choice(EXTRA_KEYS)] = strange(rng)
        else:
            box[key] = strange(rng, box[key])
    return value


EXTRA_KEYS = (
    "sliding_window", "layer_types", "num_key_value_heads", "head_dim", "rope_scaling", "text_config", "num_experts",
    "quantization_config", "kv_lora_rank", "num_hidden_layers", "num_kv_shared_layers", "model_type", "architectures",
    "vocab_size", "tie_word_embeddings", "torch_dtype", "max_position_embeddings", "attn_config", "block_types",
    "sliding_window_pattern", "layers_block_type", "hybrid_override_pattern", "first_k_dense_replace",
    "qk_rope_head_dim",
)  # fmt: skip


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        box = stack.pop()
        keys = list(box) if isinstance(box, dict) else range(min(len(box), 50)) if isinstance(box, list) else ()
        found += [(box, key) for key in keys]
        stack += [box[key] for key in keys]
    return found


class Gguf:
    """A GGUF header taken apart, to be put together again with lies in it."""

    def __init__(self, raw: bytes) -> None:
        file = read(MemorySource(raw, name="x.gguf"), strict=False)
        self.kv: list[tuple[str, int, Any]] = []
        for key, value in file.metadata.items():
            if isinstance(value, LongArray):  # tokens: a short list does for these commands
                kind = KINDS.get(value.elem, gb.U32)
                value = ("a",) * 8 if kind == gb.STR else (0,) * 8  # noqa: PLW2901
                self.kv.append((key, gb.ARR, gb.Arr(kind, value)))
            else:
                self.kv.append((key, *_typed(file.metadata_types[key], value)))
        self.tensors = [
            gb.Tensor(
                t.name, tuple(reversed(t.shape)), t.dtype.ggml_id if t.dtype and t.dtype.ggml_id is not None else 0
            )
            for t in file.tensors
        ]

    def mutate(self, rng: random.Random) -> bytes:
        """The header with a few keys or tensors changed; data is left out (see `full_size`)."""
        kv, tensors = list(self.kv), list(self.tensors)
        shapes = rng.random() < 0.3
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            if (shapes and tensors) or not kv:
                self._mutate_tensor(tensors, rng)
            else:
                self._mutate_key(kv, rng)
        self.full_size = 0
        offset = 0
        for i, t in enumerate(tensors):  # where each belongs, as far as 64 bits go
            tensors[i] = gb.Tensor(t.name, t.dims, t.type, offset & (1 << 64) - 1)
            offset += -(-t.nbytes // 32) * 32
        raw: bytes = gb.build(kv, tensors, data=b"")
        self.full_size = min(len(raw) + offset, 1 << 42)
        return raw

    def _mutate_key(self, kv: list[tuple[str, int, Any]], rng: random.Random) -> None:
        i = rng.randrange(len(kv))
        if rng.random() < 0.8:  # most keys decide nothing: take one of the architecture's
            own = [j for j, (key, _, _) in enumerate(kv) if not key.startswith(("tokenizer.", "general."))]
            i = rng.choice(own) if own else i
        key, _kind, old = kv[i]
        if rng.random() < 0.15:
            del kv[i]
            return
        arch = next((v for k, _, v in kv if k == "general.architecture" and isinstance(v, str)), "llama")
        if rng.random() < 0.1:
            key = f"{arch}.{rng.choice(GGUF_KEYS)}"
        if rng.random() < 0.03:
            key, kv[i] = "general.architecture", ("general.architecture", gb.STR, rng.choice(ARCHS))
            return
        kv[i] = (key, *_strange_typed(rng, old))

    @staticmethod
    def _mutate_tensor(tensors: list[gb.Tensor], rng: random.Random) -> None:
        if not tensors:
            return
        i = rng.randrange(len(tensors))
        t = tensors[i]
        kind = rng.randrange(5)
        if kind == 0:
            del tensors[i]
        elif kind == 1:
            names = ("blk.99999999999.x", "blk..weight", "blk.-1.attn_q.weight", "output.weight", "\x1b[31m", "",
                     "blk.0.x",
                     "blk.0.attn_k.weight", "token_embd.weight", "\u202e", "blk.\u0661.attn_q.weight")  # fmt: skip
            tensors[i] = gb.Tensor(rng.choice(names), t.dims, t.type)
        elif kind == 2:
            tensors[i] = gb.Tensor(t.name, t.dims, rng.choice((0, 1, 2, 8, 12, 24, 39, 4, 99, -1)))
        else:
            dims = list(t.dims)
            for _ in range(rng.choice((1, 1, 2))):
                j = rng.randrange(len(dims) + 1)
                dim = rng.choice((0, 1, 2, 32, 255, 256, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -1))
                dims[j : j + rng.choice((0, 1))] = [dim]
            tensors[i] = gb.Tensor(t.name, tuple(dims[: rng.choice((1, 2, 4, 4, 4, 5))]), t.type)


GGUF_KEYS = (
    "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count", "expert_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.sliding_window",
    "vocab_size",
    "attention.sliding_window_pattern", "attention.kv_lora_rank", "ssm.state_size", "ssm.conv_kernel", "ssm.inner_size",
    "ssm.group_count", "ssm.time_step_rank", "expert_used_count", "nextn_predict_layers", "rope.dimension_count",
    "attention.shared_kv_layers", "full_attention_interval", "attention.indexer.key_length", "wkv.head_size",
    "shortconv.l_cache", "leading_dense_block_count", "attention.key_length_mla", "pooling_type", "attention.causal",
    "decoder_block_count", "attention.compress_ratios", "hyper_connection.count", "interleave_moe_layer_step",
)  # fmt: skip
ARCHS = ("llama", "gemma3n", "deepseek2", "mamba", "qwen3next", "t5", "clip", "nonsense", "bert", "rwkv7", "deepseek4")


def _typed(words: str, value: Any) -> tuple[int, Any]:
    if words in KINDS and words != "arr":
        return KINDS[words], value
    values = list(value) if isinstance(value, tuple) else []
    elem = (
        gb.STR
        if values and isinstance(values[0], str)
        else gb.F32
        if values and isinstance(values[0], float)
        else gb.I64
    )
    if any(isinstance(v, tuple) for v in values):
        return gb.ARR, gb.Arr(gb.U32, [])
    return gb.ARR, gb.Arr(elem, [int(v) if elem == gb.I64 else v for v in values])


def _strange_typed(rng: random.Random, old: Any) -> tuple[int, Any]:
    near = [(gb.U32, v & 0xFFFFFFFF) for v in (old * 2, old + 1, old - 1, old // 2)] if type(old) is int else []
    return rng.choice(
        [(gb.U32, 0), (gb.U32, 1), (gb.U32, 3), (gb.U32, 64), (gb.U32, 1 << 20), (gb.U32, 1 << 31),
         (gb.U32, (1 << 32) - 1), (gb.U64, 1 << 63), (gb.U64, (1 << 64) - 1), (gb.I64, -1), (gb.I32, -(1 << 31)),
         (gb.F32, float("nan")), (gb.F32, float("inf")), (gb.F32, 0.5), (gb.F64, -1e300), (gb.BOOL, True),
         (gb.STR, "x"), (gb.STR, ""), (gb.STR, "\x1b[31m"), (gb.ARR, gb.Arr(gb.U32, [])),
         (gb.ARR, gb.Arr(gb.U32, [0, 1 << 31, 3])), (gb.ARR, gb.Arr(gb.I32, [-1] * 64)),
         (gb.ARR, gb.Arr(gb.U32, [1] * 500)),
         (gb.ARR, gb.Arr(gb.STR, ["a", ""])), (gb.ARR, gb.Arr(gb.F32, [float("nan")] * 40)),
         (gb.ARR, gb.Arr(gb.BOOL, [1, 0] * 20)), (gb.ARR, gb.Arr(gb.U32, [0] * 200_000)), *near]
    )  # fmt: skip


# --- cases ---------------------------------------------------------------------------------------------------------


class Corpus:
    """What there is to damage. Synthetic headers cover nearly every architecture of llama.cpp."""

    def __init__(self) -> None:
        files = ROOT / "fixtures" / "files"
        self.files = sorted(p for p in files.rglob("*") if p.is_file())
        self.folders = sorted({p.parent for p in self.files if p.name == "config.json"})
        self.configs = sorted((ROOT / "fixtures" / "configs").glob("*.json"))
        headers = ROOT / "fixtures" / "llamacpp-headers"
        self.headers = [gzip.decompress(p.read_bytes()) for p in sorted(headers.glob("*.gguf-header.gz"))]
        with lzma.open(ROOT / "fixtures" / "llamacpp-synthetic.jsonl.xz", "rt") as rows:
            self.headers += [base64.b64decode(json.loads(row)["header"]) for row in rows]
        self.parsed: dict[int, Gguf] = {}

    def gguf(self, i: int) -> Gguf:
        """The i-th header taken apart, once."""
        if i not in self.parsed:
            self.parsed[i] = Gguf(self.headers[i])
        return self.parsed[i]


def make_case(corpus: Corpus, rng: random.Random, folder: Path) -> tuple[str, str]:
    """A damaged target in `folder`, and the sound one it was made of."""
    kind = rng.choices(("bytes", "gguf", "config", "folder", "safetensors"), (3, 5, 4, 3, 2))[0]
    if kind == "bytes":
        source = rng.choice(corpus.files)
        raw = source.read_bytes()
        path = folder / source.name
        path.write_bytes(damage(raw, rng, within=rng.choice((64, 400, 3000, len(raw)))))
        return str(path), str(source)
    if kind == "gguf":
        header = corpus.gguf(rng.randrange(len(corpus.headers)))
        path, sound = folder / "damaged.gguf", folder / "sound.gguf"
        sound.write_bytes(gb.build(header.kv, header.tensors, data=b""))
        path.write_bytes(header.mutate(rng))
        if rng.random() < 0.8:
            with contextlib.suppress(OSError):
                os.truncate(path, header.full_size)
        return str(path), str(sound)
    if kind == "config":
        sound = rng.choice(corpus.configs)
        mutated = mutate_json(json.loads(sound.read_text()), rng)
        (folder / "config.json").write_text(json.dumps(mutated))
        return str(folder / "config.json"), str(sound)
    sound = rng.choice(corpus.folders)
    target = folder / "model"
    shutil.copytree(sound, target)
    if kind == "folder":
        path = rng.choice(sorted(target.glob("*.json")))
        path.write_text(json.dumps(mutate_json(json.loads(path.read_text()), rng)))
    else:
        path = rng.choice(sorted(target.glob("*.safetensors")))
        _mutate_safetensors(path, rng)
    return str(target), str(sound)


def _mutate_safetensors(path: Path, rng: random.Random) -> None:
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    try:
        header = json.dumps(mutate_json(json.loads(raw[8 : 8 + n]), rng)).encode()
    except ValueError:
        header = raw[8 : 8 + n]
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + n :])


def signature(error: BaseException) -> str:
    """The place in our code that an error came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/inspector/" in f.filename]
    where = f"{frames[-1].filename.split('/inspector/')[-1]}-{frames[-1].name}" if frames else "-"
    detail = str(error)[:60] if isinstance(error, Broken) else ""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{type(error).__name__}-{where}{detail}")


def run_case(
    corpus: Corpus, case: int, *, keep: Path | None = None, n_commands: int | None = None
) -> tuple[int, list[str]]:
    """Commands run, and the signatures of what broke. `keep`: where to leave the files of a case that breaks."""
    rng = random.Random(case)
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target, original = make_case(corpus, rng, folder)
        chosen = commands(target, original, str(folder / "page.html"))
        if case % 16:  # a page takes as long as all other commands together
            chosen = [argv for argv in chosen if argv[0] != "report"]
        if n_commands is not None:
            chosen = rng.sample(chosen, n_commands)
        for argv in chosen:
            try:
                run_one(argv, seconds=CPU_SECONDS * PATIENCE.get(argv[0], 1))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever escapes is the finding
                place = signature(error)
                broken.append(place)
                if keep is not None:
                    _keep(keep / place, case, argv, target)
    return len(chosen), broken


def _keep(where: Path, case: int, argv: list[str], target: str) -> None:
    if where.exists():
        with (where / "more.txt").open("a") as file:
            file.write(f"{case}\n")
        return
    where.mkdir(parents=True)
    (where / "what.txt").write_text(f"case {case}\n{argv}\n{traceback.format_exc()}")
    copy = shutil.copytree if os.path.isdir(target) else shutil.copyfile
    if os.path.isdir(target) or os.stat(target).st_size < 10 << 20:
        copy(target, where / os.path.basename(target))


def _limit() -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_NBYTES, resource.RLIM_INFINITY))


def _batch(corpus: Corpus, cases: range, keep: Path, counts: int) -> None:
    """A child's work: cases in a row, under limits; a hang in C shows where it was."""
    _limit()
    log = (keep / f"last-{os.getpid()}.txt").open("w")
    n = 0
    for case in cases:
        log.seek(0)
        log.write(f"case {case}\n")
        log.flush()
        faulthandler.dump_traceback_later(60, exit=True, file=log)
        done, _ = run_case(corpus, case, keep=keep)
        n += done
        faulthandler.cancel_dump_traceback_later()
    os.write(counts, struct.pack("<Q", n))
    os.unlink(log.name)


def campaign(*, seconds: float, seed: int, jobs: int, keep: Path, batch: int = 20) -> tuple[int, int]:
    """Cases and commands run. Each batch runs in a child of its own, so that limits start afresh."""
    keep.mkdir(parents=True, exist_ok=True)
    corpus = Corpus()
    commands("", "", "")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_case(corpus, seed)  # imports everything before the limits are set
    children: set[Any] = set()
    end, at, n_cases = time.monotonic() + seconds, seed * 10_000_000, 0
    reading, writing = os.pipe()
    while time.monotonic() < end or children:
        while len(children) < jobs and time.monotonic() < end:
            pid = os.fork()
            if pid == 0:
                try:
                    _batch(corpus, range(at, at + batch), keep, writing)
                except BaseException:  # a child says what it died of
                    (keep / f"died-{at}.txt").write_text(traceback.format_exc())
                finally:
                    os._exit(0)
            children.add(pid)
            at += batch
            n_cases += batch
        pid, _ = os.wait()
        children.discard(pid)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        counts = file.read()
    return n_cases, sum(n for (n,) in struct.iter_unpack("<Q", counts))


def main() -> int:
    """Exit code 1 when something broke."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "inspector-fuzz")
    parser.add_argument("--case", type=int, help="run this one case and show what breaks")
    args = parser.parse_args()
    if args.case is not None:
        n, broken = run_case(Corpus(), args.case, keep=args.keep)
        print(n, "commands;", *broken, sep="\n")
        return int(bool(broken))
    n_cases, n_commands = campaign(seconds=args.seconds, seed=args.seed, jobs=args.jobs, keep=args.keep)
    found = sorted(p.name for p in args.keep.iterdir())
    print(f"{n_cases:,} cases, {n_commands:,} commands, {len(found)} kinds of failure in {args.keep}", *found, sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
