"""What a release of an engine changed of what we replay: rows, cited source, names.

    python scripts/track.py llamacpp                      the newest build in the index, against the one we replay
    python scripts/track.py llamacpp 9509 10502           these builds
    python scripts/track.py llamacpp 9509 10502 --markdown docs/versions.md    and the tables of that page
    python scripts/track.py llamacpp --only llamacpp.jsonl.gz placement.jsonl.gz       rows of these fixtures alone
    python scripts/track.py vllm|transformers|safetensors|gguf [VERSION]

Every row that the engine was asked for is asked again (ROWS; scripts/remeasure.py), two fixtures at a time, and what
the release gives is held to what is committed: llama.cpp's CPU, RPC and CUDA buffers (CUDA's host code where
clang++-19 is there), drafts and towers beside a model, damaged headers, its quantizer and converter; vLLM's planner;
transformers' parameters, caches and prefills. Each file and function of its source that our docstrings cite is looked
up: one that is gone fails loudly, one whose text changed is named. Names that the release has and the replayed one
has not are listed: architectures, element types, keys, options, model types. Exit code 1 where a row moved, could not
be asked or a citation fell, 2 where a cited file or function is gone. Measured rows are kept in the cache: a second
run takes seconds.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import engines
import oracles
import sparse_files
from oracles_llamacpp import Tools
from remeasure import add_places, differences, tools_for

ROOT = Path(__file__).resolve().parent.parent
ROWS = {  # engine: fixtures whose rows a release of it is asked for
    "llamacpp": (
        "llamacpp-synthetic.jsonl.xz", "llamacpp-more.jsonl.xz", "drafting.jsonl.gz", "draft-outputs.jsonl",
        "llamacpp.jsonl.gz", "placement.jsonl.gz", "loading.jsonl.xz", "quantize.jsonl.gz",
        "quantize_options.jsonl.gz", "convert.jsonl.gz",
        "beside.jsonl.gz", "towers.jsonl.gz", "cuda.jsonl.gz", "cuda-options.jsonl.gz", "cuda-fit.jsonl.gz",
        "cuda-mixed.jsonl.gz", "cuda-synthetic.jsonl.gz", "cuda-drafting.jsonl.gz", "cuda-more.jsonl.gz",
        "cuda-refused.json.gz", "cuda_pools.jsonl.gz",
    ),
    "vllm": ("vllm_kv.jsonl", "vllm_planner.jsonl"),
    "transformers": (
        "transformers.jsonl.gz", "params.jsonl", "measured_transformers.json.gz", "hf_measured.jsonl",
        "params_towers.jsonl",
    ),
}  # fmt: skip
MARK = "<!-- written by scripts/track.py -->"
SUFFIXES = {"llamacpp": r"cpp|h|hpp|cu|cuh", "vllm": "py", "transformers": "py", "safetensors": "py", "gguf": "py"}


# --------------------------------------------------------------------------------------------------------- citations


class Citation(NamedTuple):
    """A file of the engine that a text of ours names, with a word of it ("" for the file alone), and where we do."""

    path: str
    word: str
    where: str


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings and runs of comments of one of our modules, with their lines."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                yield start, " ".join(block)
                block = []
            start, last = (start if block else token.start[0]), token.start[0]
            block.append(token.string.lstrip("# "))
    if block:
        yield start, " ".join(block)


def found_in(tree: Path, name: str, suffixes: str) -> list[Path]:
    """Files of a source tree that a citation can mean: those whose path ends so."""
    return [
        p for p in by_name(tree, suffixes).get(name.rsplit("/", 1)[-1], ()) if f"/{p.as_posix()}".endswith(f"/{name}")
    ]


@cache
def by_name(tree: Path, suffixes: str) -> dict[str, list[Path]]:
    """A tree's source files by their last name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(tree.rglob("*")):
        if re.search(rf"\.({suffixes})$", path.name) and "build" not in path.relative_to(tree).parts[:1]:
            found.setdefault(path.name, []).append(path.relative_to(tree))
    return found


def citations(tree: Path, engine: str) -> list[Citation]:
    """What our package cites of the replayed source: files, and the words beside them that stand in those files."""
    suffixes = SUFFIXES[engine]
    pattern = re.compile(rf"[\w./-]*[\w-]\.(?:{suffixes})\b")
    cited: set[Citation] = set()
    for module in sorted((ROOT / "inspector").rglob("*.py")):
        for line, text in texts(module):
            named = [n for n in pattern.findall(text) if n != "llama.cpp" and len(found_in(tree, n, suffixes)) == 1]
            words = {w for w in re.findall(r"\b[a-zA-Z][\w:]{5,}\b", text) if "_" in w or "::" in w}
            where = f"{module.relative_to(ROOT)}:{line}"
            for name in set(named):
                path = found_in(tree, name, suffixes)[0]
                cited.add(Citation(path.as_posix(), "", where))
                source = read(tree / path)
                cited |= {
                    Citation(path.as_posix(), w, where) for w in words if re.search(rf"\b{re.escape(w)}\b", source)
                }
    return sorted(cited)


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def body(source: str, word: str) -> str:
    """The text of a function: from its name to the end of its braces or its indentation; "" where it has none here."""
    python = re.search(rf"^( *)(?:def|class) {re.escape(word)}\b.*?(?=^\1\S|\Z)", source, re.MULTILINE | re.DOTALL)
    if python:
        return python[0]
    start = re.search(rf"^[\w].*\b{re.escape(word)}\([^;{{]*\{{", source, re.MULTILINE)
    if not start:
        return ""
    depth, at = 1, start.end()
    while depth and at < len(source):
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        at += 1
    return source[start.start() : at]


def _text_of(path: Path, word: str) -> str:
    """A function's text, or a whole file's."""
    return body(read(path), word) if word else read(path)


def verdicts(before: Path, now: Path, cited: list[Citation]) -> tuple[list[str], list[str]]:
    """(what is gone, what changed), in words, of all that is cited."""
    gone: dict[str, str] = {}
    changed: dict[str, str] = {}
    for cite in cited:
        new = now / cite.path
        shown = f"{cite.path}{' ' if cite.word else ''}{cite.word}"
        if not new.exists():
            gone.setdefault(cite.path, cite.where)
        elif cite.word and not re.search(rf"\b{re.escape(cite.word)}\b", read(new)):
            gone.setdefault(shown, cite.where)
        elif _text_of(before / cite.path, cite.word) != _text_of(new, cite.word):
            changed.setdefault(shown, cite.where)
    return [f"{k} (cited by {v})" for k, v in gone.items()], [f"{k} (cited by {v})" for k, v in changed.items()]


# ------------------------------------------------------------------------------------------------------------- names

_NAMES = {  # engine: {what: (file, pattern)}
    "llamacpp": {
        "architectures": ("src/llama-arch.cpp", r'\{ *LLM_ARCH_\w+, *"([^"]+)"'),
        "keys": ("src/llama-arch.cpp", r'\{ *LLM_KV_\w+, *"([^"]+)"'),
        "tensors": ("src/llama-arch.cpp", r'\{ *LLM_TENSOR_\w+, *"([^"]+)"'),
        "element types": ("ggml/include/ggml.h", r"^ *(GGML_TYPE_\w+) +="),
        "file types": ("include/llama.h", r"^ *(LLAMA_FTYPE_\w+) +="),
        "options": ("common/arg.cpp", r'"(--?[a-z][\w-]*)"'),
        "tower kinds": ("tools/mtmd/clip-impl.h", r'\{ *PROJECTOR_TYPE_\w+, *"([^"]+)"'),
    },
    "transformers": {
        "model types": ("transformers/models/auto/auto_mappings.py", r'^ *\(?"([\w.-]+)", *"\w+Config"'),
        "quantisation methods": ("transformers/utils/quantization_config.py", r'^    \w+ = "([\w-]+)"$'),
    },
    "vllm": {
        "model classes": ("vllm/model_executor/models/registry.py", r'^ *"(\w+)": \('),
        "cache specs": ("vllm/v1/kv_cache_interface.py", r"^class (\w+)"),
        "options": ("vllm/engine/arg_utils.py", r'"(--[\w-]+)"'),
    },
    "gguf": {
        "element types": ("gguf/constants.py", r"^ *(\w+) *= *\d+$"),
        "keys": ("gguf/constants.py", r'^ *\w+ *= *"([\w.{}]+)"$'),
    },
    "safetensors": {"functions": ("safetensors/torch.py", r"^def (\w+)")},
}  # fmt: skip


def names(tree: Path, engine: str) -> dict[str, set[str]]:
    """Names that a release has, by kind; a file that is not there has none."""
    found = {}
    for kind, (path, pattern) in _NAMES[engine].items():
        file = tree / path
        found[kind] = set(re.findall(pattern, read(file), re.MULTILINE)) if file.exists() else set()
    return found


# -------------------------------------------------------------------------------------------------------------- rows

_LINES = {  # path of a figure in a row → the line that it is one of
    r"rows\[\d+\]\.model|model_bytes_no_repack|devices\.\w+\.model(_mib)?|contexts.*\.models.*": "weights",
    r"rows\[\d+\]\.context|kv_bytes|devices\.\w+\.context(_mib)?|contexts.*\.KV\.\w+": "caches",
    r"cache_(bytes_)?(logical|storage)|after_\d+_decode_\w+": "caches",
    r"rs_bytes|contexts.*\.RS\.\w+": "recurrent state",
    r"rows\[\d+\]\.compute|compute(_bytes)?|compute_mib\.\w+|(devices\.\w+|contexts.*)\.compute(\.\w+)?": "compute",
    r"(alloc_)?peak_bytes|peak_minus_cache": "compute",
    r"output(_bytes|\[\d+\])?|output_mib(\.\w+)?|contexts.*\.output\.\w+": "output",
    r"(gpu|cpu)\.\w+": "towers",
    r"pool": "pools",
    r"mib|runs\[\d+\]\.mib": "size",
    r"offloaded.*": "layers on devices",
    r"sched_copies": "copies of a pipeline",
    r"bytes_per_block|stage_bytes_per_block\[\d+\]|groups\[\d+\]\.page_bytes": "pages",
    r"blocks_one_req|bytes_one_req|groups\[\d+\]\.max_bytes_one_req": "one request",
    r"(total|active|routed_expert)_params|n_params": "parameters",
}
# What else a row says, compared as a whole: what differs of it is counted.
_WHOLE: dict[str, tuple[str, Callable[[str], bool]]] = {
    "quantize": ("tensor types", lambda path: ".types." in f".{path}" or path.endswith("default")),
    "convert": ("tensors and keys", lambda _: True),
    "loaders": ("refusals", lambda path: path == "refused"),
    "transformers": ("shapes of caches", lambda path: "layer" in path.partition("[")[0]),
}


_COUNTED = frozenset(line for line, _ in _WHOLE.values())


class Moved(NamedTuple):
    """One figure of one row: which line, whose, and both values (None: the release gives none)."""

    fixture: str
    line: str
    model: str
    before: float
    now: float | None


def flat(row: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Figures of a row by their path."""
    if isinstance(row, dict):
        for key, value in row.items():
            yield from flat(value, f"{path}.{key}" if path else key)
    elif isinstance(row, list):
        for i, value in enumerate(row):
            yield from flat(value, f"{path}[{i}]")
    elif isinstance(row, (int, float)) and not isinstance(row, bool):
        yield path, row


def name_of(row: dict[str, Any]) -> str:
    """What a row's model is called."""
    called = next((row[k] for k in ("arch", "model", "name", "class", "base") if row.get(k) is not None), None)
    if isinstance(called, int):  # a small model by its place
        return str(sparse_files.synthetic()[called]["arch"]) if called >= 0 else "tiny"
    return str(row["config"].get("model_type") if called is None and "config" in row else called)


def figures(oracle: oracles.Oracle, before: dict[str, Any], now: dict[str, Any]) -> Iterator[Moved]:
    """Every figure of a committed row, beside the release's."""
    lost = _refused(now) and not _refused(before)
    found = {} if lost else dict(flat(now))
    for path, value in flat(before):
        line = next((line for pattern, line in _LINES.items() if re.fullmatch(pattern, path)), None)
        if line:
            yield Moved(oracle.fixture, line, name_of(before), value, found.get(path))
    if oracle.group in _WHOLE:
        line, counts = _WHOLE[oracle.group]
        differ = sum(counts(path) for path, _, _ in differences(before, now))
        yield Moved(oracle.fixture, line, name_of(before), 0, None if lost else differ)


def _refused(row: dict[str, Any]) -> bool:
    return bool(row.get("rc")) or "error" in row or any(run["rc"] for run in row.get("runs", ()))


def measured(oracle: oracles.Oracle, tools: Tools, version: str) -> list[dict[str, Any]]:
    """Rows as a release gives them, from the cache where they were asked before."""
    of = hashlib.sha256((oracles.FIXTURES / oracle.fixture).read_bytes()).hexdigest()[:12]
    kept = tools.cache / "rows" / version / f"{oracle.fixture.split('.')[0]}-{of}.json"  # of the rows that stand now
    if not kept.exists():
        rows = [row for row in oracle.rows() if not oracle.left_out(row)]
        found = json.dumps(list(oracle.measure(tools, rows)))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(found, encoding="utf-8")
    again: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
    return again


def asked(oracle: oracles.Oracle, tools: Tools, version: str) -> list[Moved] | str:
    """Every figure of a fixture beside a release's, or why it could not be asked."""
    try:
        now = measured(oracle, tools, version)
    except (Exception, SystemExit) as e:  # whatever a new release breaks is said, and the others go on
        said = (getattr(e, "stderr", None) or str(e)).strip().splitlines() or [type(e).__name__]
        return f"{oracle.fixture}: could not be asked: {said[-1]}"
    before = [row for row in oracle.rows() if not oracle.left_out(row)]
    return [m for one, new in zip(before, now, strict=True) for m in figures(oracle, one, new)]


def all_figures(tools: Tools, fixtures: Iterable[str], version: str) -> tuple[list[Moved], list[str]]:
    """Every figure of these fixtures beside a release's, and what could not be asked; two fixtures at a time."""
    chosen = [oracle for oracle in oracles.ORACLES if oracle.fixture in fixtures]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        answers = list(pool.map(lambda oracle: asked(oracle, tools, version), chosen))
    found = [m for answer in answers if not isinstance(answer, str) for m in answer]
    return found, [answer for answer in answers if isinstance(answer, str)]


# ------------------------------------------------------------------------------------------------------------ report


def table(found: list[Moved]) -> list[str]:
    """Line by line: figures, those that are equal, and how far the others are off."""
    rows = ["| fixture | line | figures | none given | equal | median off | largest off | where |",
            "|---|---|---:|---:|---:|---:|---:|---|"]  # fmt: skip
    for fixture, line in dict.fromkeys((m.fixture, m.line) for m in found):
        own = [m for m in found if (m.fixture, m.line) == (fixture, line)]
        given = [m for m in own if m.now is not None]
        off = [m for m in given if m.now != m.before]  # rows alike are as many figures
        worst = max(off, key=lambda m: abs(_off(m)), default=None)
        unit = {"tensor types": " tensors"}.get(line, " values" if line in _COUNTED else "%")
        median = f"{statistics.median(abs(_off(m)) for m in off):.3g}{unit}" if off else ""
        largest = f"{_off(worst):+.3g}{unit}" if worst else ""
        none = len(own) - len(given) or ""
        where = worst.model if worst else ""
        name, equal = fixture.split(".")[0], len(given) - len(off)
        rows.append(f"| {name} | {line} | {len(own):,} | {none} | {equal:,} | {median} | {largest} | {where} |")
    return rows


def _off(m: Moved) -> float:
    """How far our figure, which is the committed one, is from the release's: percent, or how many differ."""
    assert m.now is not None
    return m.now if m.line in _COUNTED else (m.before - m.now) / m.now * 100 if m.now else 100.0


def by_model(found: list[Moved]) -> list[str]:
    """Which models differ, line by line, with the range of how far; and which the release does not load.

    Compute buffers differ in nearly every small model when a graph changes, so only those of the 25 are named.
    """
    rows = []
    kept = [m for m in found if m.line not in _COUNTED and not m.fixture.startswith("quant")]
    lost = sorted({m.model for m in kept} - {m.model for m in kept if m.now is not None})
    for line in dict.fromkeys(m.line for m in kept):
        off: dict[str, list[float]] = {}
        for m in kept:
            named = line != "compute" or m.fixture == "llamacpp.jsonl.gz"
            if named and m.line == line and m.now is not None and m.now != m.before:
                off.setdefault(m.model, []).append(_off(m))
        said = [f"{name} {_range(values)}" for name, values in sorted(off.items())]
        if said:
            rows.append(f"- {line}: {'; '.join(said)}")
    return [*rows, f"- not loaded by this build: {', '.join(lost) or 'none'}"]


def _range(values: list[float]) -> str:
    low, high = f"{min(values):+.2g}", f"{max(values):+.2g}"
    return f"{low}%" if low == high else f"{low} … {high}%"


class Report(NamedTuple):
    """One release: the tables of its rows, names that differ by kind, citations that are gone and that changed."""

    version: str
    rows: list[Moved]
    names: dict[str, tuple[list[str], list[str]]]
    gone: list[str]
    changed: list[str]
    unasked: list[str]

    @property
    def code(self) -> int:
        """2 where a cited text is gone, 1 where something moved or could not be asked."""
        moved = self.changed or self.unasked or any(m.now != m.before for m in self.rows)
        return 2 if self.gone else 1 if moved else 0

    def lines(self, engine: str, *, whole: bool) -> list[str]:
        """Markdown; `whole`: with all names and citations."""
        lines = [f"## {engines.PACKAGES[engine]} {self.version}", ""]
        if self.rows:
            lines += [*table(self.rows), "", "Which figures differ (ours less theirs):", "", *by_model(self.rows), ""]
        lines += [f"- {said}" for said in self.unasked]
        for kind, (new, old) in self.names.items():
            full = whole or kind in {"architectures", "element types"}
            more = f": {', '.join(new)}" if new and full else "", f": {', '.join(old)}" if old and full else ""
            lines.append(f"- {kind}: {len(new)} that we have not{more[0]}; {len(old)} that it has not{more[1]}")
        cited = f"Cited files and functions: {len(self.gone)} are not there, {len(self.changed)} have another text."
        lines += ["", cited, ""]
        if whole:
            lines += [f"- GONE: {x}" for x in self.gone] + [f"- changed: {x}" for x in self.changed] + [""]
        return lines


def engine_of(fixture: str) -> str:
    """What the rows of a fixture are asked of."""
    return next(oracle.engine for oracle in oracles.ORACLES if oracle.fixture == fixture)


def fixtures_for(engine: str, options: argparse.Namespace) -> list[str]:
    """Fixtures to ask; without a clang, none of CUDA's."""
    found = [name for name in ROWS.get(engine, ()) if not options.only or name in options.only]
    if not (options.cuda or shutil.which(options.clang)):
        print(f"{options.clang} is not there: rows of CUDA's host code are not asked", file=sys.stderr)
        return [name for name in found if engine_of(name) != "cuda"]
    return found


def rows_of(engine: str, version: str, options: argparse.Namespace) -> tuple[list[Moved], list[str]]:
    """Every figure beside a release's; where CUDA's host code, or all of it, does not build, what is left and why."""
    fixtures = fixtures_for(engine, options)
    plain = [name for name in fixtures if engine_of(name) != "cuda"]
    tries = [("the release", plain)] if plain == fixtures else [("CUDA's host code", fixtures), ("the release", plain)]
    failed = []
    for what, left in tries:
        try:
            tools = tools_for([o for o in oracles.ORACLES if o.fixture in left], options, {engine: version})
        except (subprocess.CalledProcessError, OSError, SystemExit) as e:
            failed.append(f"{what} was not built: {' '.join(str(e).split())[-400:]}")
        else:
            found, unasked = all_figures(tools, left, version)
            return found, failed + unasked
    return [], failed


def report(engine: str, version: str, options: argparse.Namespace) -> Report:
    """What one release moved."""
    pinned = engines.PINNED[engine]
    if version != pinned:  # finished builds that were named are the replayed release's
        options = argparse.Namespace(**vars(options) | dict.fromkeys(("source", "build", "objects", "cuda", "vllm")))
    found, unasked = rows_of(engine, version, options)
    before = engines.sources(engine, pinned, options.cache)
    now = engines.sources(engine, version, options.cache)
    had, has = names(before, engine), names(now, engine)
    parted = {k: (sorted(has[k] - had[k]), sorted(had[k] - has[k])) for k in had}
    return Report(version, found, parted, *verdicts(before, now, citations(before, engine)), unasked)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=engines.PACKAGES)
    parser.add_argument("version", nargs="*", help="releases; default: the newest in the index")
    parser.add_argument("--markdown", type=Path, help="write the tables into this page, behind its mark")
    parser.add_argument("--only", nargs="+", metavar="FIXTURE", help="rows of these fixtures alone")
    add_places(parser)
    options = parser.parse_args()
    asked = [f"{v}.0.0" if v.isdecimal() else v for v in options.version] or engines.versions(options.engine)[-1:]
    reports = []
    for version in asked:
        reports.append(report(options.engine, version, options))
        print("\n".join(reports[-1].lines(options.engine, whole=True)), flush=True)
    if options.markdown:
        head, mark, _ = options.markdown.read_text(encoding="utf-8").partition(MARK)
        page = [line for one in reports for line in one.lines(options.engine, whole=False)]
        options.markdown.write_text(head + mark + "\n\n" + "\n".join(page).rstrip() + "\n", encoding="utf-8")
    return max(one.code for one in reports)


if __name__ == "__main__":
    sys.exit(main())
