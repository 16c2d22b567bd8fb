"""The registry of GGUF architectures: complete, consistent, cheap to load."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from inspector.architectures import gguf_caches, gguf_states, gguf_windows
from inspector.architectures.gguf import GGUF_ARCHS
from inspector.architectures.gguf_builds import MEASURED, arch_at
from inspector.architectures.gguf_keys import Keys
from inspector.architectures.gguf_layers import read_stack
from inspector.layers import KVCache

# LLM_ARCH_NAMES of src/llama-arch.cpp (b11434), but for "clip" (projector files) and "(unknown)".
N_ARCHS = 153


def stack(arch, **values):
    base = {"block_count": 8, "embedding_length": 512, "attention.head_count": 8, "attention.head_count_kv": 2}
    pairs = {f"{arch}.{k}": v for k, v in (base | values).items() if v is not None}
    return read_stack(GGUF_ARCHS[arch], Keys(arch, pairs), ())


def slides(arch, **values):
    return [any(getattr(c, "window", None) is not None for c in x.caches) for x in stack(arch, **values).layers]


def test_every_architecture_of_llama_cpp_has_a_row():
    assert len(GGUF_ARCHS) == N_ARCHS
    assert all(name == row.name and row.ref.startswith("src/") for name, row in GGUF_ARCHS.items())
    assert [name for name, row in GGUF_ARCHS.items() if not row.ref.startswith("src/models/")] == ["gptj"]


def test_no_name_stands_in_two_rows(root):
    tree = ast.parse((root / "inspector" / "architectures" / "gguf.py").read_text("utf-8"))
    text = {t.id: node.value.value for node in tree.body if isinstance(node, ast.AnnAssign)
            for t in [node.target] if isinstance(node.value, ast.Constant)}  # fmt: skip
    keys = [
        text[key.id] if isinstance(key, ast.Name) else key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
    ]
    names = " ".join(keys).split()
    assert sorted(names) == sorted(GGUF_ARCHS)


def test_no_option_stands_that_no_row_sets():
    rows = [*GGUF_ARCHS.values(), *(arch_at(name, MEASURED[0]) for name in GGUF_ARCHS)]  # of older builds too
    for records in (rows, *([r for row in rows if (r := getattr(row, field)) is not None] for field in
                            ("sliding", "recurrent", "latent", "index", "draft"))):  # fmt: skip
        record = type(records[0])
        for field, default in record._defaults.items():
            assert any(getattr(r, field) != default for r in records), f"{record.__name__}.{field}"


@pytest.mark.parametrize("module", [gguf_caches, gguf_states, gguf_windows])
def test_no_rule_stands_that_no_row_follows(root, module):
    registry = {w.id for w in ast.walk(ast.parse((root / "inspector/architectures/gguf.py").read_text("utf-8")))
                if isinstance(w, ast.Name)}  # fmt: skip
    own = {"keys_and_values", "latent_vectors", "is_latent", "latent_refusals", "refusals"}  # what rules are chosen by
    rules = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith(("_", "read_"))
    }
    assert len(rules) > 5
    assert rules - registry - own == set()


def test_plans_name_what_their_rows_hold():
    for row in GGUF_ARCHS.values():
        assert (row.plan == "sliding") <= (row.sliding is not None), row.name
        assert (row.recurrent is not None) == (row.plan in {"recurrent", "hybrid"}), row.name
        assert (not row.caches) == (row.plan in {"encoder", "diffusion"}), row.name


@pytest.mark.parametrize("arch", sorted(GGUF_ARCHS))
def test_every_row_makes_layers(arch):
    made = stack(
        arch,
        **{
            "attention.sliding_window": 128,
            "attention.sliding_window_pattern": (1, 0) * 4,
            "ssm.state_size": 16,
            "ssm.inner_size": 1024,
        },
    )
    assert len(made.layers) >= 8
    assert [x.index for x in made.layers] == list(range(len(made.layers)))


WINDOW = {"attention.sliding_window": 128}
T, F = True, False


@pytest.mark.parametrize(
    ("arch", "values", "expected"),
    [
        ("gemma2", {}, [T, F] * 4),  # the default window
        ("gemma3", WINDOW, [T, T, T, T, T, F, T, T]),
        ("gemma3", {}, [F] * 8),  # no key: no sliding layers
        ("gemma3", {"attention.sliding_window": 0}, [F] * 8),
        ("cohere2", WINDOW, [T, T, T, F] * 2),
        ("cohere2moe", WINDOW, [F, T, T, T] * 2),  # the full layer comes first
        ("gpt-oss", WINDOW | {"attention.sliding_window_pattern": 4}, [T, T, T, F] * 2),
        ("gpt-oss", WINDOW | {"attention.sliding_window_pattern": 0}, [T] * 8),
        ("gpt-oss", WINDOW | {"attention.sliding_window_pattern": (0, 1, 1)}, [F, T, T, F, F, F, F, F]),
        ("exaone4", WINDOW, [F] * 8),  # only the 64-layer model slides
        ("phi3", WINDOW, [F] * 8),  # the key is read and ignored
        ("qwen2", WINDOW, [F] * 8),  # the key is not read
        ("llama4", {}, [T, T, T, F] * 2),  # chunks, unless the key is 0
        ("llama4", {"attention.sliding_window": 0}, [F] * 8),
        ("gemma2", WINDOW | {"nextn_predict_layers": 2}, [T, F, T, F, T, F]),
    ],
)
def test_which_layers_slide(arch, values, expected):
    assert slides(arch, **values) == expected


def test_exaone4_slides_at_64_layers_and_at_no_other_depth():
    assert [any(slides("exaone4", block_count=n, **WINDOW)) for n in (63, 64, 65)] == [False, True, False]


def test_windows_that_the_engine_sets_itself():
    assert stack("smallthinker", **WINDOW).window == 4096
    assert stack("llama4", **WINDOW).window == 8192
    assert stack("llama4").layers[0].caches == (KVCache(2, 64, 64, 8192, chunked=True),)
    assert stack("exaone4", block_count=64).window == 4096


def test_which_layers_are_recurrent():
    kinds = [x.kind[0] for x in stack("qwen3next", **{"ssm.state_size": 16, "ssm.inner_size": 64}).layers]
    assert "".join(kinds) == "rrrfrrrf"
    kinds = [x.kind[0] for x in stack("jamba", **{"attention.head_count_kv": (0, 0, 2, 0) * 2}).layers]
    assert "".join(kinds) == "rrfrrrfr"
    made = stack(
        "nemotron_h",
        **{"attention.head_count_kv": (0, 0, 2, 0) * 2, "feed_forward_length": (0, 99, 0, 0) * 2},
    )
    assert "".join(x.kind[0] for x in made.layers) == "rnfrrnfr"


def test_looped_layers_have_a_cache_a_loop():
    assert len(stack("nanbeige", num_loops=3).layers) == 24


def test_loading_the_registry_takes_no_heavy_module():
    code = (
        "import sys, inspector.facts.gguf;"
        "print([m for m in ('re', 'json', 'typing', 'dataclasses', 'enum', 'functools', 'collections', 'numpy',"
        " 'gguf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
