"""The records of transformers' model types: complete, known by name, and enough to add a model type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.architectures import hf
from inspector.architectures.hf import family_of
from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_config import class_defaults
from inspector.architectures.hf_lookup import every_record, find, records_of

PACKAGE = Path(hf.__file__).resolve().parents[3]
# Types of published files that transformers' own registry does not name: remote code, older names, and parts that
# have no configuration class of their own.
# fmt: off
NOT_IN_TRANSFORMERS = {
    "RefinedWeb", "RefinedWebModel", "aquila", "baichuan", "clip", "deepseek_vl_v2", "dflash", "draft", "dspark",
    "eagle",
    "eagle3", "internlm", "internlm2",
    "kimi_k2", "megrez", "mimo", "minicpm", "minicpmv", "minimax_m1", "minimax_m3", "nemotron-nas", "new",
    "nomic_bert_moe", "olmo1", "orion", "pangu_ultra_moe", "qwen", "step1", "step3p7_text", "transformer", "vit",
    "xverse", "yi",
}
# fmt: on


@pytest.mark.parametrize("family", hf.FAMILIES)
def test_the_index_names_exactly_the_records_of_each_family(family: str) -> None:
    assert sorted(hf.FAMILIES[family].split()) == sorted(records_of(family))


def test_every_family_has_a_row_in_the_index() -> None:
    modules = {p.stem for p in Path(hf.__file__).parent.glob("*.py")} - {"__init__", "record"}
    assert modules == set(hf.FAMILIES)


def test_no_model_type_stands_in_two_families() -> None:
    names = [name for names in hf.FAMILIES.values() for name in names.split()]
    assert len(names) == len(set(names))


def test_every_record_is_of_a_model_type_that_exists() -> None:
    names = {name for name, _ in every_record()}
    assert names - set(class_defaults()) == NOT_IN_TRANSFORMERS


@pytest.mark.parametrize(("record", "part"), [(ModelType, ""), (Layout, "layout"), (Activations, "activations")])
def test_every_option_is_set_by_some_record_to_more_than_its_default(record: type, part: str) -> None:
    rows = [getattr(row, part) if part else row for _, row in every_record()]
    plain = record()
    unused = [f for f in plain.as_dict() if all(getattr(r, f) == getattr(plain, f) for r in rows if r is not None)]
    assert not unused


def test_a_name_without_a_record_has_none() -> None:
    assert family_of("no_such_model") == ""
    assert find("no_such_model") is None


def test_one_model_type_loads_one_family() -> None:
    code = (
        "import sys; from inspector.architectures.hf_lookup import find; find('qwen3');"
        "print(*sorted(m for m in sys.modules if m.startswith('inspector.architectures.hf.')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_env(PACKAGE))
    assert out.stdout.split() == ["inspector.architectures.hf.qwen", "inspector.architectures.hf.record"]


def _env(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}


RECORD = """
    "brandnew": ModelType(
        attention=latent,
        state=kda,
        layer_types=last_of(2, other=LINEAR),
        moe_layers=from_first("first_k_dense_replace", 1),
        layout=Layout(mla=True, moe="mlp", mixer=_brandnew_mixer),
    ),
"""
FAMILY = f'''"""Brandnew: latent attention in every second layer."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Layout, ModelType
from inspector.architectures.hf_blocks import linear
from inspector.architectures.hf_caches import kda, latent
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import LINEAR, last_of


def _brandnew_mixer(k, at):
    return linear(at + "in_proj", 100, k.need("hidden_size"), "recurrent")


MODEL_TYPES = MappingProxyType({{{RECORD}}})
'''
CONFIG = {
    "model_type": "brandnew", "num_hidden_layers": 4, "hidden_size": 64, "vocab_size": 1000, "intermediate_size": 128,
    "num_attention_heads": 4, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
    "head_dim": 16, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "first_k_dense_replace": 1, "tie_word_embeddings": True, "dtype": "bfloat16", "max_position_embeddings": 4096,
}  # fmt: skip


@pytest.fixture(scope="module")
def brandnew(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the package with one more model type, by CONTRIBUTING's recipe; and a model of that type."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE / "inspector", root / "inspector", ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "inspector" / "architectures" / "hf"
    (folder / "brandnew.py").write_text(FAMILY)
    index = folder / "__init__.py"
    table = "FAMILIES: Final[Mapping[str, str]] = MappingProxyType({\n"
    text = index.read_text()
    assert table in text
    index.write_text(text.replace(table, f'{table}    "brandnew": "brandnew",\n'))
    config = root / "model" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(CONFIG))
    return root, config


def _inspector(root: Path, *words: str) -> dict:
    command = [sys.executable, "-m", "inspector", *words, "--json"]
    out = subprocess.run(command, capture_output=True, text=True, env=_env(root), cwd=root, check=False)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


def test_a_model_type_added_by_the_recipe_has_its_parameters(brandnew: tuple[Path, Path]) -> None:
    shown = _inspector(brandnew[0], str(brandnew[1]))
    embedding, norms = 1000 * 64, 64 * 9
    latent = 64 * 4 * 24 + 64 * 40 + 32 + 32 * 4 * 32 + 64 * 4 * 16
    dense, moe = 3 * 64 * 128, 8 * 64 + 8 * 3 * 64 * 32
    total = embedding + norms + 2 * latent + 2 * 100 * 64 + dense + 3 * moe
    assert f'"n_params": {total}' in json.dumps(shown)
    assert "has no row here" not in json.dumps(shown)


def test_a_model_type_added_by_the_recipe_has_its_caches_in_transformers(brandnew: tuple[Path, Path]) -> None:
    report = _inspector(brandnew[0], "memory", str(brandnew[1]), "--engine", "transformers", "-c", "1024")
    text = json.dumps(report)
    latent, conv, state = 2 * 1024 * 40 * 2, 2 * 3 * 64 * 4 * 2, 2 * 4 * 16 * 16 * 4
    assert f'"nbytes": {latent}' in text
    assert f'"nbytes": {conv + state}' in text


def test_a_model_type_added_by_the_recipe_has_its_pages_in_vllm(brandnew: tuple[Path, Path]) -> None:
    report = _inspector(brandnew[0], "memory", str(brandnew[1]), "--engine", "vllm", "-c", "1024")
    token, per_block, state_blocks = 40 * 2, 128, 2  # latent and rotary part in bfloat16; a state is padded to a page
    assert f'"bytes_one_req": {2 * token * per_block * (1024 // per_block + state_blocks)}' in json.dumps(report)
