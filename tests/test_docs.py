"""The pages: every command, fact and schema is there, links lead somewhere, and what generates them works."""

from __future__ import annotations

import importlib.util
import json
import re
import stat
import subprocess
import sys

import pytest

from inspector.cli.group import COMMANDS, EPILOG
from inspector.facts import ModelFacts


def load(root, name):
    spec = importlib.util.spec_from_file_location(name, root / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(root, *args, **more):
    return subprocess.run(
        [sys.executable, *map(str, args)], cwd=root, capture_output=True, encoding="utf-8", check=False, **more
    )


def test_every_command_has_its_help_in_the_page(root):
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"<!-- generated: inspector {name} --help -->" not in page]
    assert missing == []


def test_the_page_of_commands_is_what_help_says_now(root):
    done = run(root, "scripts/generate_docs.py", "--check", "--only", "docs/cli.md")
    assert done.returncode == 0, done.stderr


def test_every_fact_is_in_the_glossary(root):
    page = (root / "docs" / "glossary.md").read_text(encoding="utf-8")
    inner = {"format", "notes", "tensors", "keys", "nextn_layers", "promised", "outer_type"}
    assert [f for f in ModelFacts._fields if f not in inner and f"`{f}`" not in page] == []


def test_links_lead_somewhere(root):
    broken = []
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md")]:
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        broken += [(page.name, x) for x in links if "://" not in x and not (page.parent / x).exists()]
    assert broken == []


def test_every_page_is_named_in_readme_and_in_help(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    for page in [*(root / "docs").glob("*.md"), root / "docs" / "schemas", root / "docs" / "decisions"]:
        assert f"](docs/{page.name})" in readme, page.name
        assert page.name in EPILOG, page.name


@pytest.mark.parametrize("table", ["vllm"])
def test_figures_of_other_programs_are_those_of_our_lines_now(table, root):
    page = (root / "docs" / "faq.md").read_text(encoding="utf-8")
    done = run(root, "scripts/other_numbers.py", table)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in page


def test_a_block_is_written_anew_and_what_is_around_it_stays(root):
    docs = load(root, "generate_docs")
    page = "before\n<!-- generated: inspector --version -->\nold\n<!-- end -->\nafter\n"
    made = docs.regenerate(page)
    assert made.startswith("before\n<!-- generated: inspector --version -->\n```console\n$ inspector --version\n")
    assert made.endswith("```\n<!-- end -->\nafter\n")
    assert "old" not in made
    assert docs.regenerate(made) == made
    with pytest.raises(SystemExit, match="no <!-- end -->"):
        docs.regenerate("<!-- generated: inspector --version -->\n")
    with pytest.raises(SystemExit, match="inspector or python"):
        docs.regenerate("<!-- generated: rm -rf / -->\n<!-- end -->\n")


def test_pages_in_docs_are_looked_at(root):
    docs = load(root, "generate_docs")
    names = {path.rsplit("/", 1)[-1] for path in docs.pages([])}
    assert {"README.md", "cli.md", "memory.md", "accuracy.md"} <= names
    assert [p.rsplit("/", 1)[-1] for p in docs.pages(["docs/cli.md"])] == ["cli.md"]


def test_errors_are_counted_as_on_paper(root):
    accuracy = load(root, "accuracy")

    def sample(ours, theirs, unit=1):
        return accuracy.Sample("models", "m", "weights", ours, theirs, "", unit)

    samples = [sample(100, 100), sample(101, 100), sample(90, 100), sample(None, 100)]
    assert accuracy.figures(samples) == ["4", "1", "1", "1%", "10%", "10%", "m"]
    # printed in whole MiB: what rounds to the same is the same
    assert sample((5 << 20) + 7, 5 << 20, 1 << 20).error == 0
    assert not sample(4 << 20, 5 << 20, 1 << 20).exact
    assert [accuracy.percent(x) for x in (0, 1e-6, 0.004, 0.0371, 1.46)] == ["0", "< 0.001%", "0.4%", "3.7%", "146%"]
    assert [accuracy.quantile([1.0, 2.0, 3.0, 4.0], q) for q in (0.5, 0.9, 0.25)] == [2.0, 4.0, 1.0]


@pytest.mark.parametrize("engine", ["vllm", "parameters"])
def test_the_summary_is_a_table_of_exact_rows(engine, root):
    done = run(root, "scripts/accuracy.py", "--summary", "--engine", engine)
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.splitlines()
    assert head.startswith("| engine | measured | line | rows | exact |")
    for row in rows:
        cells = [c.strip() for c in row.strip("|").split("|")]
        assert cells[3] == cells[4], row


def test_weights_and_caches_are_exact_in_every_row(root):
    """Of the page, whose table `make check` compares with what is calculated now."""
    page = (root / "docs" / "accuracy.md").read_text("utf-8")
    _, _, table = page.partition("| engine | measured | line |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    assert len(rows) > 25
    for row in rows:
        cells = [c.strip() for c in row.strip("|").split("|")]
        if cells[2] != "compute" or cells[0].startswith("llama.cpp"):
            assert cells[3] == cells[4], row


LOG = """echo 'load_tensors: offloaded 17/17 layers to GPU'
echo 'llama_context: n_ctx                 = 4096'
echo 'llama_kv_cache:   RPC0 KV buffer size =   100.00 MiB'
echo 'llama_kv_cache:   RPC0 KV buffer size =    28.50 MiB'
echo 'sched_reserve:    CPU compute buffer size =   300.00 MiB'
echo 'sched_reserve:    CPU compute buffer size =   274.52 MiB'
echo 'sched_reserve: reserve took 1.0 ms, sched copies = 4'
"""


def test_a_measured_row_is_what_the_program_said(root, tmp_path):
    program = tmp_path / "llama-fit-params"
    program.write_text(f"#!/bin/sh\n(\n{LOG}) >&2\necho 'Host 698 128 274 '\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    rows = tmp_path / "rows.jsonl"
    done = run(
        root, "scripts/measure_llamacpp.py", "x/model.gguf", "--case", "c", "--append", rows, "--", "-c", "4096",
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row == {
        "model": "model", "case": "c", "args": ["-c", "4096"], "rc": 0, "offloaded": [17, 17], "sched_copies": 4,
        "effective": {"n_ctx": 4096}, "kv_mib": {"RPC0": 128.5}, "compute_mib": {"CPU": 274.52},
        "devices": {"Host": {"model_mib": 698, "context_mib": 128, "compute_mib": 274}},
    }  # fmt: skip
    assert json.loads(rows.read_text()) == row


def test_a_log_stands_in_for_the_program(root, tmp_path):
    log = tmp_path / "log"
    log.write_text("llama_kv_cache:        CPU KV buffer size =   12.50 MiB\n")
    done = run(root, "scripts/measure_llamacpp.py", "m.gguf", "--log", log)
    assert json.loads(done.stdout)["kv_mib"] == {"CPU": 12.5}
    log.write_text("nothing\n")
    assert run(root, "scripts/measure_llamacpp.py", "m.gguf", "--log", log).returncode == 1
    assert run(root, "scripts/measure_llamacpp.py", "m.gguf", env={"PATH": str(tmp_path)}).returncode == 1
