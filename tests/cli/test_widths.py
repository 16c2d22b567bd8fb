"""Every command on terminals of 40 to 200 columns: no line is wider, and no figure is lost on the way."""

from __future__ import annotations

import re
import shutil

import pytest

from inspector.cli.group import COMMANDS, run_command_line

# commands to be typed as they are: a shell takes them whole
TYPED = re.compile(r"\s*(?:llama-server|llama-quantize|convert_hf|vllm serve|inspector memory) ")
WORDS = {
    "show": ["MOE"], "show --all": ["MOE"], "show quants": ["QUANTS"], "tensors": ["MOE"], "tensors --all": ["MOE"],
    "tensors --by role": ["MOE"], "meta": ["MOE"], "memory -v": ["MOE", "--gpu", "24GiB"],
    "memory -v split": ["MOE", "--gpu", "2xrtx3090", "-ngl", "1"], "memory --layers": ["MOE"],
    "memory --sweep ctx": ["MOE", "--gpu", "24GiB"],
    "memory quants": ["QUANTS", "--gpu", "rtx4090", "--gpu", "rtx3060", "--gpu", "2xh100"],
    "memory vllm": ["TIED", "-e", "vllm", "-v", "--gpu", "24GiB"],
    "memory transformers": ["TIED", "-e", "transformers", "-v"],
    "fit": ["MOE", "--gpu", "2GiB"], "fit -v": ["MOE", "--gpu", "2xrtx3060"],
    "quantize-size": ["TIED"], "quantize-size --tensors": ["TIED", "--to", "Q8_0"], "audit": ["BROKEN"],
    "diff": ["MOE", "TINY"], "calc": ["--preset", "qwen3-8b", "--gpu", "24GiB"], "rule": [], "rule page": ["CD002"],
    "archs": ["llama"], "dtypes": [], "gpus": ["rtx"], "engines": [], "list": ["QUANTS"],
}  # fmt: skip
FIGURES = ("tensors --all", "memory -v", "memory -v split", "quantize-size --tensors", "dtypes", "diff")
NOT_LAID_OUT = {"report", "scan", "compare"}  # a page; a table in a file; a log's figures beside ours


@pytest.fixture
def printed(monkeypatch, capsys, files, tmp_path):
    """`printed(name, width)`: the lines of a command of WORDS on a terminal of so many columns."""
    monkeypatch.chdir(tmp_path)  # paths that are as short wherever the tests lie
    shutil.copyfile(files / "gguf" / "tiny-moe-q8_0.gguf", "moe.gguf")
    shutil.copyfile(files / "gguf" / "tiny-llama-q8_0.gguf", "tiny.gguf")
    shutil.copytree(files / "safetensors" / "llama-tied", "tied")
    shutil.copytree(files / "broken" / "half-a-download", "broken")
    (tmp_path / "quants").mkdir()
    for quant in ("Q4_0", "Q8_0", "UD-Q4_K_XL"):
        shutil.copyfile("tiny.gguf", f"quants/a-rather-long-name-of-a-model.{quant}.gguf")
    places = {"MOE": "moe.gguf", "TINY": "tiny.gguf", "QUANTS": "quants", "TIED": "tied", "BROKEN": "broken"}
    for name, value in (("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1"), ("TERM", "xterm"), ("INSPECTOR_GPU", "none")):
        monkeypatch.setenv(name, value)

    def lines(name, width):
        monkeypatch.setenv("COLUMNS", str(width))
        command, *flags = (w for w in name.split() if w in COMMANDS or w[0] == "-" or w in {"ctx", "role"})
        code = run_command_line([command, *(places.get(w, w) for w in WORDS[name]), *flags])
        out, err = capsys.readouterr()
        assert code in {0, 1}, err
        return out.splitlines()

    return lines


def test_every_command_that_lays_out_lines_is_among_these():
    assert {name.split()[0] for name in WORDS} | NOT_LAID_OUT == set(COMMANDS)


@pytest.mark.parametrize("name", WORDS)
def test_no_line_is_wider_than_the_terminal(printed, name):
    for width in (40, 60, 80, 120, 200) if name in FIGURES else (40, 80):
        wide = [x for x in printed(name, width) if len(x) > width and not TYPED.match(x)]
        assert [x for x in wide if len(x.split()) > 1] == [], width  # a path alone is left whole


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_is_lost_where_the_terminal_is_narrow(printed, name):
    def figures(width):
        return set(re.findall(r"\d[\d,.]*", " ".join(x for x in printed(name, width) if "note:" not in x)))

    assert figures(80) <= figures(40)


def test_what_has_no_room_beside_its_name_stands_below_it_with_its_heads(printed):
    lines = printed("tensors --all", 40)
    at = lines.index("  token_embd.weight")
    assert lines[at + 1].strip().startswith("shape 320 × 32 · type")
    assert printed("tensors --all", 120)[0].split() == ["name", "shape", "type", "elements", "bytes", "offset"]


def test_the_last_text_is_wrapped_where_the_rest_of_a_row_has_room(printed):
    lines = printed("rule", 80)
    assert lines[0].startswith("  CD001  remote-code ")
    assert lines[1].startswith(" " * 40 + "  ")
    assert len([line for line in lines if line.startswith("  CD001")]) == 1
