"""One page that holds all it needs, and out of which nothing in a model file can break."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

import inspector
from inspector.checkpoint import Checkpoint
from inspector.formats.modelfile import ModelFile, TensorInfo
from inspector.memory.engines import estimate
from inspector.memory.estimate import Workload
from inspector.report.html import page


class Elements(HTMLParser):
    """Names and attributes of all elements, and what stands in each script and style."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside, self.at = [], {}, ("", None)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.at = (tag, dict(attrs).get("id"))

    def handle_data(self, data):
        self.inside[self.at] = self.inside.get(self.at, "") + data


def report_of(path):
    checkpoint = inspector.inspect(str(path))
    facts = inspector.read_facts(checkpoint)
    sweep = [(n, estimate(facts, Workload(n_ctx=n), engine="llama.cpp")) for n in (256, 512)]
    return checkpoint, facts, page(checkpoint, facts, {"f16": sweep}, version="9.9")


def test_the_page_is_one_file_that_loads_nothing(files, root):
    _, _, text = report_of(files / "gguf/tiny-llama-q8_0.gguf")
    elements = Elements(text)
    assert not [tag for tag, _ in elements.found if tag in {"link", "img", "iframe", "base", "object"}]
    assert not [a for _, attrs in elements.found for a in attrs if a in {"src", "href", "onload", "onclick"}]
    (policy,) = [a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    for name, key in (("style.css", ("style", None)), ("script.js", ("script", None))):
        own = (root / "inspector" / "report" / "page" / name).read_text(encoding="utf-8")
        assert elements.inside[key].strip() == own.strip()
    assert not re.search(r"\{[{%#]", text.replace(elements.inside["script", None], ""))


def test_the_data_are_the_models(files):
    checkpoint, facts, text = report_of(files / "gguf/tiny-llama-q8_0.gguf")
    data = json.loads(Elements(text).inside["script", "data"])
    assert [t["name"] for t in data["tensors"]] == [t.name for t in checkpoint.tensors]
    assert sum(t["nbytes"] for t in data["tensors"]) == checkpoint.tensors_nbytes
    assert ["n_params", f"{facts.n_params:,}"] in data["facts"]
    points = data["sweeps"]["f16"]["points"]
    assert [p["n_ctx"] for p in points] == [256, 512]
    assert all(sum(p["parts"].values()) == p["total"] for p in points)
    assert "Computed by inspector 9.9" in text
    assert "Memory (llama.cpp)" in text


def test_nothing_in_a_file_becomes_markup(files):
    facts = inspector.read_facts(inspector.inspect(str(files / "gguf/tiny-llama-q8_0.gguf")))
    evil = "</script><script>alert(1)</script>{{ 7 * 7 }}\x1b[31m\u202e"
    tensor = TensorInfo(evil, (4,), None, 0, 16, "F32")
    file = ModelFile("m", "gguf", 3, 100, 10, {}, (tensor,), {})
    text = page(Checkpoint(evil, "gguf", (file,), {}, notes=(evil,)), facts, {}, version="1")
    elements = Elements(text)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert "alert(1)" not in elements.inside["script", None]
    assert "{{ 7 * 7 }}" in elements.inside["title", None]
    assert "\x1b" not in text
    assert "\u202e" not in text
    data = json.loads(elements.inside["script", "data"])
    assert data["tensors"][0]["name"] == data["notes"][0] == evil.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm", "transformers", "textbook"])
def test_the_page_judges_a_card_as_the_command_line_does(root, run_inspector, tmp_path, sparse_model, engine):
    target = str(sparse_model("gemma-3-1b") if engine == "llama.cpp" else root / "fixtures/configs/qwen3-8b.json")
    made = tmp_path / "report.html"
    assert run_inspector(["report", target, "-o", str(made), "-e", engine])[0] == 0
    data = json.loads(Elements(made.read_text(encoding="utf-8")).inside["script", "data"])
    for kv, at in ((0, 0), (-1, -1)):
        name = list(data["sweeps"])[kv]
        point = data["sweeps"][name]["points"][at]
        for card in data["cards"][3::7]:
            words = ["-c", str(point["n_ctx"]), "--gpu", f"{card['gib']}GiB"]
            words += [] if name == "auto" else ["--kv-cache-dtype", name]
            _, out, _ = run_inspector(["memory", target, "-e", engine, *words, "--json"])
            (device,) = [d for d in json.loads(out)["devices"] if d["capacity"] is not None]
            left = card["usable"] - point["on_card"] - card["extra"]
            assert left == device["capacity"] - device["reserve"] - device["used"]
            assert (left >= 0) == device["fits"]
