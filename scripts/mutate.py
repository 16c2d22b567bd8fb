"""How much the tests notice: plants one wrong line at a time (scripts/mutations.py) and runs the tests named beside it.

Each mutation is made in a temporary copy of the tree, never here. A row whose text does not stand exactly once in the
package stops the script and is named: the code has moved on, and the row must follow. Killed: a named test fails, or
takes ten times too long. `--write` puts the score of a full run into docs/testing.md; `--record FILE` keeps the
results, and with `--again` only what that file does not call killed is run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutations import AREAS, Mutation

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "inspector"
PAGE = ROOT / "docs" / "testing.md"
START, END = "<!-- mutation score -->\n", "<!-- end of score -->"
LINKED = ("fixtures", "models", "demo")  # large, and never written to
PATIENCE = 180  # seconds for the named tests of one mutation; without it they take a tenth
ALL = tuple(m for rows in AREAS.values() for m in rows)


def sources() -> dict[Path, str]:
    """The package's modules by path from the root."""
    return {path.relative_to(ROOT): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def place_of(mutation: Mutation, texts: dict[Path, str]) -> Path | str:
    """The module that holds the mutation's text, or why it cannot be planted."""
    found = {path: n for path, text in texts.items() if (n := text.count(mutation.old))}
    if sum(found.values()) != 1:
        return f"{mutation.name}: its text stands {sum(found.values())} times in the package, not once"
    (path,) = found
    try:
        compile(texts[path].replace(mutation.old, mutation.new), str(path), "exec")
    except SyntaxError as error:
        return f"{mutation.name}: what it plants is no Python ({error})"
    return path


def test_files(mutation: Mutation) -> list[str]:
    """The named test files, from the root. Exits where a name fits none, or several."""
    found = []
    for name in mutation.tests:
        fitting = [p for p in sorted((ROOT / "tests").rglob("test_*.py")) if f"/{p.as_posix()}".endswith(f"/{name}")]
        if len(fitting) != 1:
            sys.exit(f"error: {mutation.name}: {len(fitting)} test files end in {name}")
        found.append(fitting[0].relative_to(ROOT).as_posix())
    return found


def copy_tree(where: Path) -> Path:
    """A copy of what tests need; large folders as links."""
    for path in ROOT.iterdir():
        if path.name in LINKED:
            (where / path.name).symlink_to(path.resolve())
        elif path.is_dir() and path.name in {"inspector", "tests", "scripts", "docs"}:
            shutil.copytree(path, where / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file() and path.name != ".git":
            shutil.copy2(path, where / path.name)
    return where


def run_tests(where: Path, tests: list[str], *, patience: float = PATIENCE) -> tuple[int, float, str]:
    """Exit code of pytest (1 after too long), seconds, and the first failure's name."""
    command = [
        sys.executable, "-B", "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--tb=no",
        "-m", "not slow and not models", *tests,
    ]  # fmt: skip
    start = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(where), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, time.monotonic() - start, "(took too long)"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode in {3, 4, 5}:
        sys.exit(f"error: pytest {' '.join(tests)}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.returncode, time.monotonic() - start, failed[0] if failed else ""


def attempt(mutation: Mutation, path: Path, copies: Queue[Path]) -> dict[str, object]:
    """Plant one mutation in a free copy, run its tests, put the copy in order again."""
    where = copies.get()
    target = where / path
    whole = target.read_text("utf-8")
    try:
        target.write_text(whole.replace(mutation.old, mutation.new), "utf-8")
        code, seconds, by = run_tests(where, test_files(mutation))
    finally:
        target.write_text(whole, "utf-8")
        copies.put(where)
    return {"name": mutation.name, "killed": code != 0, "seconds": round(seconds, 1), "by": by}


def run(chosen: list[tuple[Mutation, Path]], *, jobs: int, trusted: bool) -> Iterator[dict[str, object]]:
    """Results in order, each when it is there. Unless `trusted`, the tests must first pass with nothing planted."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies: Queue[Path] = Queue()
        for i in range(jobs):
            where = Path(folder) / str(i)
            where.mkdir()
            copies.put(copy_tree(where))
        if not trusted:
            tests = sorted({name for m, _ in chosen for name in test_files(m)})
            first = copies.get()
            code, _, by = run_tests(first, tests, patience=PATIENCE * 10)
            copies.put(first)
            if code:
                sys.exit(f"error: the tests fail before anything is planted: {by}")
        yield from pool.map(lambda row: attempt(row[0], row[1], copies), chosen)


def alternating() -> list[Mutation]:
    """All mutations, the areas in turn: a run that is cut short has seen something of each."""
    return [m for row in zip_longest(*AREAS.values()) for m in row if m is not None]


def score_lines(killed: dict[str, bool]) -> list[str]:
    """The score area by area, and the survivors by name, as Markdown. Mutations that were not run are counted apart."""
    n, total = sum(killed.values()), len(killed)
    lines = [f"**{n} of {total} mutations killed ({n * 100 // max(total, 1)} %).**"]
    if total < len(ALL):
        lines.append(f"{len(ALL) - total} more were not run this time; they are no part of the score.")
    lines += ["", "| area | killed | run | in the table |", "|---|--:|--:|--:|"]
    for area, rows in AREAS.items():
        tried = [m for m in rows if m.name in killed]
        lines.append(f"| {area} | {sum(killed[m.name] for m in tried)} | {len(tried)} | {len(rows)} |")
    alive = [m for m in ALL if killed.get(m.name) is False]
    if alive:
        lines += ["", "Not noticed yet:", "", *(f"- `{m.name}`: {m.breaks}" for m in alive)]
    return lines


def write_page(killed: dict[str, bool]) -> None:
    """Put the score between the page's two comments."""
    text = PAGE.read_text("utf-8")
    before, found, rest = text.partition(START)
    if not found or END not in rest:
        sys.exit(f"error: {PAGE.name} has no place for the score")
    body = "\n".join(["", *score_lines(killed), "", ""])
    PAGE.write_text(before + START + body + rest[rest.index(END) :], "utf-8")


def planted() -> dict[str, Path]:
    """Where every mutation goes. Exits, naming each row that no longer fits the package."""
    texts = sources()
    places = {m.name: place_of(m, texts) for m in ALL}
    if len(places) != len(ALL):
        sys.exit("error: two mutations of one name")
    stale = [why for why in places.values() if isinstance(why, str)]
    if stale:
        sys.exit("\n".join(["error: rows of scripts/mutations.py that no longer fit:", *stale]))
    return {name: path for name, path in places.items() if isinstance(path, Path)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="the mutations and where they go; plants none")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this one; repeatable")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="copies at work at once (default 2)")
    parser.add_argument("--record", metavar="FILE", help="keep the results as JSON")
    parser.add_argument("--again", action="store_true", help="only what the recorded results do not call killed")
    parser.add_argument("--trust", action="store_true", help="the tests have just passed: do not run them first")
    parser.add_argument("--score", action="store_true", help="run nothing more: the recorded results are all")
    parser.add_argument("--write", action="store_true", help="put the score into docs/testing.md")
    args = parser.parse_args()
    places = planted()
    if args.list:
        for m in ALL:
            print(f"{m.name:<22} {places[m.name]}: {m.breaks}")
        print(f"{len(ALL)} mutations")
        return 0
    known: dict[str, bool] = {}
    if (args.again or args.score) and args.record and os.path.exists(args.record):
        known = json.loads(Path(args.record).read_text("utf-8"))
    known = {name: killed for name, killed in known.items() if name in places}
    wanted = [m for m in alternating() if (m.name in args.only if args.only else not known.get(m.name))]
    if args.only and len(wanted) != len(set(args.only)):
        sys.exit("error: no such mutation; see --list")
    if args.score:
        wanted = []
    start = time.monotonic()
    for r in run([(m, places[m.name]) for m in wanted], jobs=args.jobs, trusted=args.trust or not wanted):
        word = "killed" if r["killed"] else "SURVIVED"
        print(f"{word:<9} {r['seconds']:>6} s  {r['name']}  {r['by']}", flush=True)
        known[str(r["name"])] = bool(r["killed"])
        if args.record:
            Path(args.record).write_text(json.dumps(known, indent=1), "utf-8")
    n = sum(known.values())
    print(f"{n} of {len(known)} killed ({n * 100 // max(len(known), 1)} %) in {time.monotonic() - start:.0f} s")
    if args.write:
        write_page(known)
    return 0 if n * 10 >= len(known) * 9 else 1


if __name__ == "__main__":
    sys.exit(main())
