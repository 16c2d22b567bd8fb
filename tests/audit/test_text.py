"""TX: templates and names, bad and good. The honest ones must be silent, the hostile ones never run."""

from __future__ import annotations

import json
import time

import pytest
from gguf_builder import ARR, STR, U32, Arr, Tensor, build
from template_samples import BOMBS, CHATML, HONEST, HOSTILE

from inspector.audit.api import audit
from inspector.audit.readers.hidden import hidden_in

SPECIAL = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"]


def findings(path, *codes):
    return [f for f in audit(str(path)).findings if f.code in codes or (not codes and f.code.startswith("TX"))]


def gguf(path, *, template=None, tokens=None, extra=(), tensors=()):
    kv = [("general.architecture", STR, "llama"), *extra]
    if template is not None:
        kv.append(("tokenizer.chat_template", STR, template))
    if tokens is not None:
        kv.append(("tokenizer.ggml.tokens", ARR, Arr(STR, [t.encode() for t in tokens])))
        kv.append(("tokenizer.ggml.eos_token_id", U32, 0))
    path.write_bytes(build(kv, tensors))
    return path


def config(folder, template, **more):
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, **more}))
    return folder


def vocabulary(*special, n=1500):
    return [*special, *(f"w{i}" for i in range(n))]


@pytest.mark.parametrize("name", HONEST)
def test_honest_templates_are_silent(tmp_path, name):
    assert len(HONEST) >= 15
    config(tmp_path, HONEST[name])
    (tmp_path / "chat_template.jinja").write_text(HONEST[name])
    gguf(tmp_path / "m.gguf", template=HONEST[name])
    assert findings(tmp_path) == []


@pytest.mark.parametrize("template", HOSTILE)
def test_a_template_that_reaches_python_is_an_error(tmp_path, template):
    found = findings(gguf(tmp_path / "m.gguf", template=CHATML + template), "TX001")
    assert found
    assert found[0].severity == "error"
    assert found[0].where.startswith("m.gguf: tokenizer.chat_template, line")


@pytest.mark.parametrize(
    "template",
    ["{{ lipsum(5) }}", "{{ m._private }}", "{% include 'other' %}", "{{ self.title() }}", "{{ m|attr('content') }}"],
)
def test_what_no_chat_needs_is_a_warning(tmp_path, template):
    assert {f.severity for f in findings(config(tmp_path, template), "TX001")} == {"warning"}


def test_a_hostile_template_that_does_not_parse_is_still_found(tmp_path):
    found = findings(config(tmp_path, "{% endfor %}{{ cycler.__init__.__globals__.os.popen('id') }}"))
    assert {(f.code, f.severity) for f in found} == {("TX001", "error"), ("TX005", "warning")}


BAD = HOSTILE[0]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("tokenizer_config.json", {"chat_template": BAD}),
        (
            "tokenizer_config.json",
            {"chat_template": [{"name": "default", "template": CHATML}, {"name": "rag", "template": BAD}]},
        ),
        ("tokenizer_config.json", {"chat_template": {"tool_use": BAD}}),
        ("chat_template.json", {"chat_template": BAD}),
        ("processor_config.json", {"chat_template": BAD}),
        ("preprocessor_config.json", {"chat_template": BAD}),
        ("chat_template.jinja", BAD),
        ("additional_chat_templates/rag.jinja", BAD),
    ],
)
def test_every_place_of_a_folder_is_looked_at(tmp_path, name, document):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    found = findings(tmp_path, "TX001")
    assert [f.severity for f in found] == ["error"]
    assert found[0].where.startswith(name)


@pytest.mark.parametrize(
    "extra",
    [
        ("tokenizer.chat_template", STR, BAD),
        ("tokenizer.chat_template.tool_use", STR, BAD),
        ("tokenizer.chat_templates", ARR, Arr(STR, [b"default", BAD.encode()])),
    ],
)
def test_every_place_of_a_gguf_is_looked_at(tmp_path, extra):
    assert [f.severity for f in findings(gguf(tmp_path / "m.gguf", extra=[extra]), "TX001")] == ["error"]


def test_names_of_templates_are_no_templates(tmp_path):
    extra = [("tokenizer.chat_templates", ARR, Arr(STR, [b"tool_use", b"rag"]))]
    assert findings(gguf(tmp_path / "m.gguf", template=CHATML, extra=extra)) == []


@pytest.mark.parametrize(
    "hidden",
    ["\u200b", "\u202e", "\u2066", "\U000e0041\U000e0042", "\u00ad", "\x1b", "\x00", "a\u200db", "\u3164", "\ufffa"],
)
def test_hidden_characters_in_a_template(tmp_path, hidden):
    found = findings(gguf(tmp_path / "m.gguf", template=f"{CHATML}\n{{# {hidden} #}}"), "TX002")
    assert [f.severity for f in found] == ["warning"]
    assert "U+" in found[0].message


@pytest.mark.parametrize(
    "text",
    [
        "می‌خواهم",
        "👨‍👩‍👧",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "a\r\nb",
        "\ufeffa",
        "שלום\u200f!",
        "❤️",
        "▁｜",
    ],
)
def test_honest_unicode_hides_nothing(text):
    assert hidden_in(text) == ()


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_bombs_are_found_in_bounded_time(tmp_path, number):
    began = time.process_time()
    found = findings(gguf(tmp_path / "m.gguf", template=BOMBS[number]), "TX003")
    assert [f.severity for f in found] == ["warning"] * len(found) != []
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(messages|length) %}{{ i }}<|im_end|>{% endfor %}",
        "{{ '-' * 80 }}{{ 2 ** 10 }}{{ '%05d' % 3 }}{{ eos_token }}",
        "{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s ~ m.content %}{% endfor %}{{ ns.s }}",
        "{% for a in range(100) %}{% for b in range(100) %}x{% endfor %}{% endfor %}",
        "{{ a" + " + a" * 2000 + " }}",
        "x" * 50_000,
    ],
)
def test_honest_arithmetic_is_no_bomb(tmp_path, template):
    assert findings(gguf(tmp_path / "m.gguf", template=template), "TX001", "TX003") == []


def test_a_gguf_template_that_differs_from_its_folder(tmp_path):
    gguf(tmp_path / "m.gguf", template=CHATML)
    config(tmp_path, CHATML + "\n\n")
    assert findings(tmp_path, "TX004") == []
    (tmp_path / "chat_template.jinja").write_text(CHATML + "{{ eos_token }}")
    found = findings(tmp_path, "TX004")
    assert [(f.severity, f.where) for f in found] == [("warning", "m.gguf: tokenizer.chat_template")]
    assert "chat_template.jinja" in found[0].message


@pytest.mark.parametrize(
    "template", ["{% for m in messages %}", "{{ a b }}", "{% nothing %}", "{{ 'a }}", "{{ " + "1" * 5000 + " }}"]
)
def test_a_template_that_does_not_compile(tmp_path, template):
    found = findings(config(tmp_path, template))
    assert [(f.code, f.severity) for f in found] == [("TX005", "warning")]
    assert "does not compile" in found[0].message


def test_special_tokens_that_the_vocabulary_lacks(tmp_path):
    good = gguf(tmp_path / "good.gguf", template=CHATML, tokens=vocabulary(*SPECIAL))
    assert findings(good) == []
    bad = findings(gguf(tmp_path / "bad.gguf", template=CHATML, tokens=vocabulary("</s>")), "TX005")
    assert "<|im_end|>, <|im_start|>" in bad[0].message
    # what a template only looks for, it does not write
    looks = (
        "{% if '<|x|>' in messages[0].content %}{{ messages[0].content.split('<|y|>')[0] }}{% endif %}{{ eos_token }}"
    )
    assert findings(gguf(tmp_path / "looks.gguf", template=looks, tokens=vocabulary("</s>"))) == []


def test_special_tokens_of_a_folder_are_looked_up_in_its_tokenizer(tmp_path):
    words = {word: i for i, word in enumerate(vocabulary("<｜User｜>"))}
    template = "{% for m in messages %}<｜User｜>{{ m.content }}{{ eos_token }}{% endfor %}"
    for ascii_only in (True, False):
        text = json.dumps({"model": {"type": "BPE", "vocab": words}}, ensure_ascii=ascii_only)
        (tmp_path / "tokenizer.json").write_text(text)
        config(tmp_path, template, eos_token="</s>")
        assert findings(tmp_path) == []
    config(tmp_path, template + "<｜Tool｜>", eos_token={"content": "</s>"})
    assert "<｜Tool｜>" in findings(tmp_path, "TX005")[0].message


def test_a_template_that_never_ends_a_turn(tmp_path):
    endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokens = vocabulary("</s>")
    assert (
        "never ends a turn" in findings(gguf(tmp_path / "a.gguf", template=endless, tokens=tokens), "TX005")[0].message
    )
    assert findings(gguf(tmp_path / "b.gguf", template=endless + "{{ eos_token }}", tokens=tokens)) == []
    assert findings(gguf(tmp_path / "c.gguf", template=endless)) == []  # no vocabulary, no verdict


def test_a_beginning_written_twice(tmp_path):
    once = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    tokens = vocabulary("</s>")
    assert (
        "twice"
        in findings(gguf(tmp_path / "a.gguf", template="{{ bos_token }}" + once, tokens=tokens), "TX005")[0].message
    )
    assert findings(gguf(tmp_path / "b.gguf", template=once, tokens=tokens)) == []


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x",
        "/etc/passwd",
        "C:\\x",
        "a/../b",
        "blk.0\x1b[2J",
        "blk.0\u202etxt",
        "a\nb",
        "a\x00b",
        "a\u200bb",
    ],
)
def test_odd_tensor_names(tmp_path, name):
    found = findings(gguf(tmp_path / "m.gguf", tensors=[Tensor(name)]), "TX006")
    assert [f.severity for f in found] == ["warning"]


@pytest.mark.parametrize("value", ["x\x1b]0;owned\x07", "Llama\u202e3", "a\x00b", "\U000e0068\U000e0069"])
def test_odd_values_that_people_are_shown(tmp_path, value):
    assert findings(gguf(tmp_path / "m.gguf", extra=[("general.name", STR, value)]), "TX006")


def test_honest_names_in_any_script(tmp_path):
    extra = [
        ("general.name", STR, "通义千问 Ünïcode – модель 👨‍👩‍👧"),
        ("general.description", STR, "Two lines.\r\n\tA path: ../x, /usr/share, C:\\x"),
        ("general.tags", ARR, Arr(STR, ["日本語".encode(), b"text-generation"])),
    ]
    names = ["blk.0.attn_q.weight", "bert/encoder/layer_0/kernel:0", "слой.0", "a..b"]
    path = gguf(tmp_path / "m.gguf", extra=extra, tensors=[Tensor(n) for n in names])
    assert findings(path) == []


def test_words_of_the_vocabulary_are_never_flagged(tmp_path):
    tokens = vocabulary(
        "subprocess", "os.system", "__class__", "\u200b", "\u202e", "../../etc/passwd", "\x1b[2J", "\x00"
    )
    assert findings(gguf(tmp_path / "m.gguf", tokens=tokens)) == []


def test_odd_file_names(tmp_path):
    (tmp_path / "model\u202egnp.safetensors.txt").write_text("x")
    assert [f.code for f in findings(tmp_path)] == ["TX006"]


def test_many_templates_are_bounded(tmp_path):
    began = time.process_time()
    several = [{"name": f"t{i}", "template": CHATML + "{{ a" + " + a" * 20000 + f" + {i}" + " }}"} for i in range(40)]
    found = findings(config(tmp_path, several), "TX003")
    assert "not parsed" in found[0].message
    assert time.process_time() - began < 4
