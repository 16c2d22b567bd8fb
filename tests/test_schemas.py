"""docs/schemas: made from the types that documents are written by, and every command's real output holds to them."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest
from schemas import SCHEMAS, check, validator

from inspector.cli.group import COMMANDS, cli

Q8, MOE = "gguf/tiny-llama-q8_0.gguf", "gguf/tiny-moe-q8_0.gguf"
LOG = """build: 11434 (abc) with cc
llama_context: n_ctx         = 256
llama_kv_cache:        CPU KV buffer size =   12.50 MiB
"""

# arguments (files by their place in fixtures/files; LOG: a start-up log), exit codes
RUNS = [
    (["show", Q8], (0,)),
    (["show", "safetensors/llama-tied"], (0,)),
    (["show", "gguf"], (0, 2)),
    (["meta", Q8], (0,)),
    (["meta", Q8, "--full"], (0,)),
    (["tensors", Q8], (0,)),
    (["tensors", Q8, "--by", "layer"], (0,)),
    (["tensors", Q8, "--by", "dtype"], (0,)),
    (["memory", Q8, "--gpu", "24GiB", "--layers"], (0,)),
    (["memory", "safetensors/llama-tied", "-c", "128"], (0,)),
    (["memory", Q8, "--sweep", "ctx"], (0,)),
    (["memory", Q8, "--sweep", "np"], (0,)),
    (["memory", Q8, "--sweep", "kv", "-e", "textbook"], (0,)),
    (["memory", "gguf", "--gpu", "24GiB"], (0, 2)),
    (["fit", Q8, "--gpu", "24GiB"], (0,)),
    (["fit", Q8, "--gpu", "1MiB"], (1,)),
    (["fit", "safetensors/llama-tied", "--gpu", "h100", "-c", "128"], (0,)),
    (["quantize-size", Q8, "--to", "Q4_K_M", "--to", "Q8_0"], (0,)),
    (["quantize-size", "safetensors/llama-tied", "--to", "nf4", "--lora-rank", "8"], (0,)),
    (["calc", "--preset", "llama-2-70b", "--gpu", "80GB"], (1,)),
    (["compare", "LOG", Q8], (0, 1)),
    (["audit", "safetensors/bert"], (0, 1)),
    (["audit", "broken/half-a-download", Q8], (1,)),
    (["diff", Q8, MOE], (1,)),
    (["diff", "safetensors/llama-tied", "safetensors/llama-untied"], (1,)),
    (["list", "gguf", "safetensors"], (0,)),
    (["list", "broken/half-a-download"], (1,)),
    (["rule"], (0,)),
    (["rule", "CD002"], (0,)),
    (["archs"], (0,)),
    (["dtypes"], (0,)),
    (["gpus"], (0,)),
    (["engines"], (0,)),
    (["scan", "safetensors", "-o", "OUT"], (0,)),
]


def documents(args, codes, files, tmp_path, run_inspector):
    (tmp_path / "start.log").write_text(LOG)
    places = {word: files / word for word in args if (files / word).exists()} | {
        "LOG": tmp_path / "start.log",
        "OUT": tmp_path / "out.jsonl",
    }
    code, out, err = run_inspector([*(places.get(word, word) for word in args), "--json"])
    assert code in codes, err
    found = json.loads(out)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(("args", "codes"), RUNS, ids=lambda x: " ".join(x) if isinstance(x[0], str) else "")
def test_what_a_command_prints_holds_to_its_schema(args, codes, files, tmp_path, run_inspector):
    for document in documents(args, codes, files, tmp_path, run_inspector):
        check(document)


def test_every_command_that_has_json_is_run_and_every_schema_is_used():
    with_json = {
        name for name in COMMANDS if any("--json" in option.opts for option in cli.get_command(None, name).params)
    }
    assert with_json == {args[0] for args, _ in RUNS}
    several = {"memory-sweep", "repo", "rules"}  # what `memory --sweep`, a folder of models and `rule` alone print
    several |= {"scan-totals"}  # what `scan` prints beside its table, whose schema inspector.scan/1 is
    assert set(SCHEMAS) == (with_json - {"scan"}) | several


def test_schemas_are_as_the_types_say_now(root):
    done = subprocess.run(
        [sys.executable, "scripts/generate_docs.py", "--check", "--only", "docs/schemas"],
        cwd=root, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def objects(schema):
    """Every schema of an object with properties, however deep."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict) and "type" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_names_all_that_may_stand_there(name):
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    tops = schema.get("oneOf", [schema])
    assert {top["properties"]["schema"]["const"] for top in tops} == {f"inspector.{name}/1"}
    found = list(objects(schema))
    assert found
    assert all(one["additionalProperties"] is False for one in found)


def spoilt(value):
    """The document with one thing wrong at a time: an unknown key, a missing one, a size below zero or with a point."""
    if isinstance(value, list):
        for i, inner in enumerate(value[:2]):
            yield from ([*value[:i], other, *value[i + 1 :]] for other in spoilt(inner))
    elif isinstance(value, dict):
        yield value | {"no such key": 1}
        for key, inner in value.items():
            if key not in {"effective", "origin", "options", "settings", "metadata", "types"}:
                yield from (value | {key: other} for other in spoilt(inner))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value + 0.5
        yield "1"


@pytest.mark.parametrize(
    "args",
    [["show", Q8], ["memory", Q8, "--layers"], ["audit", "broken/half-a-download"], ["diff", Q8, MOE]],
    ids=" ".join,
)
def test_a_schema_refuses_what_does_not_belong(args, files, tmp_path, run_inspector):
    document = documents(args, (0, 1), files, tmp_path, run_inspector)[0]
    if args[0] == "diff":
        document["changes"] = []  # what stood in a file may be anything
    holds = validator(document).is_valid
    assert holds(document)
    wrong = list(spoilt(document))
    assert len(wrong) > 5
    assert [one for one in wrong if holds(one)] == []
    for key in document:
        assert not holds({k: v for k, v in document.items() if k != key}) or key == "layers", key


@pytest.mark.parametrize("field", ["nbytes", "grade", "what"])
def test_a_line_has_the_values_that_there_are(field, files, tmp_path, run_inspector):
    document = documents(["memory", Q8], (0,), files, tmp_path, run_inspector)[0]
    document["lines"][0][field] = -1 if field == "nbytes" else "guessed"
    with pytest.raises(jsonschema.ValidationError):
        check(document)
