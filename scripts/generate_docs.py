"""Put real output into README.md and docs/*.md, so that no page says what the program does not.

A block is kept up to date between two comments, `<!-- generated: COMMAND -->` and `<!-- end -->`. Commands start with
`inspector` or `python` and run at the top of the repository, without a shell, 100 columns wide, without colour.
A ```python block with a ```text block below it is a program, and what it prints.
Output that starts with `|`, `#` or a fence is Markdown already; all else becomes a console block under its own command
line.
The JSON schemas of docs/schemas are made from the types of the documents (scripts/json_schemas.py), the manual page
docs/inspector.1 from the help texts (scripts/man_page.py).
`--check` writes nothing and fails when a page is stale; `--only docs/cli.md` leaves other pages alone.
`--print architectures` prints a registry as Markdown, for a block; `--print layers` the import contract as a picture.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import glob
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BLOCK = re.compile(
    r"^(<!-- generated: (?P<command>[^\n]+?) -->\n)(?P<body>.*?)(?=<!-- end -->)", re.DOTALL | re.MULTILINE
)
PROGRAM = re.compile(
    r"^```python\n(?P<code>.*?)^```\n\n```text\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)  # what a program prints, below it
ENVIRONMENT = {
    "COLUMNS": "100", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "HF_HUB_OFFLINE": "1", "TERM": "dumb",
    "INSPECTOR_GPU": "none", "CLICOLOR_FORCE": "1",
}  # fmt: skip


def run(command: str) -> str:
    """What the command prints, on stderr too; exits 1 and 2 are answers worth showing, a crash is not."""
    program, *args = shlex.split(command)
    starts = {"inspector": [sys.executable, "-m", "inspector"], "python": [sys.executable]}
    if program not in starts:
        sys.exit(f"error: a generated block starts with inspector or python, not {program!r}")
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH"}}
    home = {"HOME": os.path.join(ROOT, "build", "home")}
    done = subprocess.run(
        [*starts[program], *args], cwd=ROOT, env=kept | ENVIRONMENT | home, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    output = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    if done.returncode not in (0, 1, 2) or "Traceback (most recent call last)" in output:
        sys.exit(f"error: `{command}` failed with exit code {done.returncode}:\n{output}")
    if ROOT in output:
        sys.exit(f"error: `{command}` prints a path of this machine")
    return output


def render(command: str) -> str:
    output = run(command)
    if output.startswith(("|", "#", "```")):
        return f"{output}\n"
    fence = "````" if "```" in output else "```"
    return f"{fence}console\n$ {command}\n{output}\n{fence}\n"


def regenerate(text: str) -> str:
    """The page with every block's body made anew."""
    if len(re.findall(r"^<!-- generated: ", text, re.MULTILINE)) != len(BLOCK.findall(text)):
        sys.exit("error: a generated block has no <!-- end -->")
    text = BLOCK.sub(lambda match: match[1] + render(match["command"]), text)
    return PROGRAM.sub(lambda m: f"```python\n{m['code']}```\n\n```text\n{run_program(m['code'])}\n```", text)


def run_program(code: str) -> str:
    """What a program of a page prints."""
    return run(f"python -c {shlex.quote(code)}")


def print_architectures() -> None:
    """Both registries as tables."""
    from inspector.architectures import architecture_rows

    rows = list(architecture_rows())
    for i, format_ in enumerate(dict.fromkeys(row["format"] for row in rows)):
        own = [row for row in rows if row["format"] == format_]
        print(f"{chr(10) if i else ''}## {format_}: {len(own)}\n\n| name | layers | source |\n|---|---|---|")
        for row in own:
            print(f"| `{row['name']}` | {row['layers']} | {row['ref']} |")


def layers() -> list[list[str]]:
    """The import contract of pyproject.toml, highest first; modules in one row do not import each other."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        found = re.search(r"^layers = (\[.*?^\])", file.read(), re.DOTALL | re.MULTILINE)
    if found is None:
        sys.exit("error: pyproject.toml has no import contract")
    rows: list[str] = ast.literal_eval(found[1])  # a TOML list of strings is one of Python's
    return [row.split(" | ") for row in rows]


def about(module: str) -> str:
    """The first sentence of a module's docstring."""
    base = os.path.join(ROOT, "inspector", module)
    path = next(path for path in (os.path.join(base, "__init__.py"), f"{base}.py") if os.path.exists(path))
    with open(path, encoding="utf-8") as file:
        words = ast.get_docstring(ast.parse(file.read())) or ""
    return " ".join(words.split("\n\n")[0].split())


def print_layers() -> None:
    """The contract as a picture, an arrow from each row to the one below it, and a line on each module."""
    rows = layers()
    names = [" & ".join(f"{m.strip('_')}[{m}]" for m in row) for row in rows]
    arrows = [f"    {above} --> {below}" for above, below in itertools.pairwise(names)]
    print("\n".join(["```mermaid", "flowchart TB", *arrows]))
    print("```\n\n| module | what it is |\n|---|---|")
    for row in rows:
        for module in row:
            print(f"| `{module}` | {about(module)} |")


def pages(only: list[str]) -> list[str]:
    """Paths of the pages to look at, all by default."""
    found = sorted(
        [*glob.glob(os.path.join(ROOT, "*.md")), *glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)]
    )
    return [path for path in found if not only or os.path.relpath(path, ROOT) in only]


def texts(only: list[str]) -> Iterator[tuple[str, str, str]]:
    """(path, text as it stands, text as it should be) of every page and schema."""
    for path in pages(only):
        before = read(path)
        yield path, before, regenerate(before)
    for name, text in made(only):
        path = os.path.join(ROOT, name)
        yield path, read(path) if os.path.exists(path) else "", text


def made(only: list[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of the files that are made whole: the schemas and the manual page."""
    if not only or any(name.startswith("docs/schemas") for name in only):
        import json_schemas

        for name, text in json_schemas.schemas().items():
            if not only or {"docs/schemas", f"docs/schemas/{name}"} & set(only):
                yield f"docs/schemas/{name}", text
    if not only or "docs/inspector.1" in only:
        import man_page

        yield "docs/inspector.1", man_page.man_page()


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PAGE", help="this page (or docs/schemas); repeatable"
    )
    parser.add_argument("--print", choices=["architectures", "layers"], help="print a registry as Markdown and stop")
    args = parser.parse_args()
    if args.print:
        {"architectures": print_architectures, "layers": print_layers}[args.print]()
        return 0
    stale = 0
    for path, before, after in texts(args.only):
        if after == before:
            continue
        stale += 1
        name = os.path.relpath(path, ROOT)
        if args.check:
            diff = difflib.unified_diff(before.splitlines(), after.splitlines(), name, "regenerated", lineterm="", n=1)
            print("\n".join(list(diff)[:40]), file=sys.stderr)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(after)
            print(f"wrote {name}", file=sys.stderr)
    if args.check and stale:
        print(f"error: {stale} page(s) are stale: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
