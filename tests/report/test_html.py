"""One page that holds all it needs, and out of which nothing in a model file can break."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

import inspector
from inspector.checkpoint import Checkpoint, open_checkpoint
from inspector.formats.modelfile import ModelFile, TensorInfo
from inspector.memory.fit.gather import gather
from inspector.memory.tables.choose import tables
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


@pytest.fixture(scope="module")
def tiny(files):
    found = gather(str(files / "gguf/tiny-llama-q8_0.gguf"), open_checkpoint)
    facts = found.candidates[0].facts
    made = tables(found.candidates, None, gpu=None, n_ctx=None)
    return found.checkpoint, facts, page(found.checkpoint, facts, made, version="9.9")


def test_the_page_is_one_file_that_loads_nothing(tiny):
    elements = Elements(tiny[2])
    assert not [tag for tag, _ in elements.found if tag in {"link", "img", "iframe", "base", "object"}]
    addresses = [a[name] for _, a in elements.found for name in ("src", "href") if name in a]
    assert addresses == ["#"]
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on") or name == "style"]


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(tiny, root):
    elements = Elements(tiny[2])
    (policy,) = [a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy"]
    hashes = {}
    for name, key in (("style.css", ("style", None)), ("script.js", ("script", None))):
        own = (root / "inspector" / "report" / "page" / name).read_text(encoding="utf-8")
        assert elements.inside[key].rstrip("\n") == own.rstrip("\n")
        hashes[key[0]] = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; script-src 'sha256-{hashes['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"\{[{%#]", tiny[2].replace(elements.inside["script", None], ""))


def test_the_data_are_the_models(tiny):
    checkpoint, facts, text = tiny
    data = json.loads(Elements(text).inside["script", "data"])
    assert [t[0] for t in data["tensors"]] == [t.name for t in checkpoint.tensors]
    assert sum(t[4] for t in data["tensors"]) == checkpoint.tensors_nbytes
    assert ["n_params", f"{facts.n_params:,}"] in data["facts"]
    assert [e["name"] for e in data["engines"]] == ["llama.cpp", "textbook"]
    assert "Computed by inspector 9.9" in text


def test_nothing_in_a_file_becomes_markup(files):
    facts = inspector.read_facts(inspector.inspect(str(files / "gguf/tiny-llama-q8_0.gguf")))
    evil = "</script><script>alert(1)</script>{{ 7 * 7 }}\x1b[31m\u202e"
    tensor = TensorInfo(evil, (4,), None, 0, 16, "F32")
    file = ModelFile("m", "gguf", 3, 100, 10, {}, (tensor,), {})
    text = page(Checkpoint(evil, "gguf", (file,), {}, notes=(evil,)), facts, (), version="1")
    elements = Elements(text)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert "alert(1)" not in elements.inside["script", None]
    assert "{{ 7 * 7 }}" in elements.inside["title", None]
    assert "\x1b" not in text
    assert "\u202e" not in text
    data = json.loads(elements.inside["script", "data"])
    assert data["tensors"][0][0] == data["notes"][0] == evil.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--gpu", "auto"], 2, "a page is about a card by name or size"),
        (["--gpu", "none"], 2, "a page is about a card by name or size"),
        (["--gpu", "mi250"], 2, "this card is several devices"),
    ],
)
def test_a_page_is_about_one_kind_of_card(run_inspector, files, args, code, said):
    found = run_inspector(["report", str(files / "gguf/tiny-llama-q8_0.gguf"), "-o", "-", *args])
    assert found[0] == code
    assert said in found[2]


def test_a_page_of_the_card_and_context_asked_for_shows_them_first(run_inspector, files):
    target = str(files / "gguf/tiny-llama-q8_0.gguf")
    code, text, _ = run_inspector(["report", target, "-o", "-", "--gpu", "2xrtx3090", "-c", "777"])
    data = json.loads(Elements(text).inside["script", "data"])
    assert code == 0
    assert data["first"] == {"ctx": 777, "n": 2}
    assert data["engines"][0]["cards"][0][0] == "RTX 3090"
    assert 777 in data["engines"][0]["contexts"]
    assert len(text) < 3_000_000
