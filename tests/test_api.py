"""The public names: what they are, whatever was imported before, and what type checkers make of them."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import types

import pytest

import inspector
from inspector.checkpoint import open_checkpoint
from inspector.facts import read_facts
from inspector.memory.devices.gpus import parse_gpu

Q8 = "gguf/tiny-llama-q8_0.gguf"
EVERY_MODULE = (
    "import pkgutil, importlib\n"
    "for m in pkgutil.walk_packages(inspector.__path__, 'inspector.'):\n"
    "    if m.name != 'inspector.__main__': importlib.import_module(m.name)"
)


def python(root, code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(inspector.__file__))},
    )  # fmt: skip


def test_every_public_name_is_there_and_documented():
    for name in inspector.__all__:
        value = getattr(inspector, name)
        if name != "__version__":
            assert callable(value), name
            assert (value.__doc__ or "").strip(), name
    assert set(inspector.__all__) <= set(dir(inspector))
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = inspector.nothing_such


def test_type_checkers_and_the_program_read_the_same_names(root):
    tree = ast.parse((root / "inspector" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: (node.module, alias.asname)
        for node in block.body if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    run = {name: (module, name) for name, module in inspector._MODULES.items()}
    assert typed == run | {name: (f"inspector.{name}.api", name) for name in inspector._CALLED}


@pytest.mark.parametrize(
    "before", ["pass", "import inspector.audit.runner, inspector.comparison", "inspector.audit", EVERY_MODULE]
)
def test_functions_stay_functions_whatever_was_imported(before, root):
    path = f"fixtures/files/{Q8}"
    code = (
        f"import inspector\n{before}\n"
        f"print(inspector.diff({path!r}, {path!r}).is_empty, inspector.audit({path!r}).verdict)\n"
        "import inspector.audit.registry\nfrom inspector.audit import runner\n"
        f"print(inspector.audit({path!r}).verdict, inspector.audit.runner.run is runner.run)\n"
        "print(*sorted(n for n in inspector.__all__[1:] if not callable(getattr(inspector, n))))"
    )
    done = python(root, code)
    assert (done.stdout.splitlines(), done.stderr) == (["True pass", "pass True", ""], "")


def test_functions_say_what_they_take():
    for name in (
        "inspect",
        "read_facts",
        "estimate",
        "audit",
        "diff",
        "fit",
        "memory",
        "parse_gpu",
        "quantize_size",
        "compare",
    ):
        function = getattr(inspector, name)
        if isinstance(function, types.ModuleType):
            function = function.__call__
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, name
        untyped = [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]
        assert untyped == [], name


def test_calling_a_package_is_calling_its_function():
    from inspector.audit.api import audit
    from inspector.memory.api import memory

    assert inspect.signature(inspector.audit) == inspect.signature(audit)
    assert inspect.signature(inspector.memory) == inspect.signature(memory)


def test_memory_says_what_the_command_says(files, run_inspector):
    import json

    settings = ["-c", "256", "-np", "2", "-ctk", "f32", "-ctv", "f32", "--gpu", "4GiB", "--gpu", "4GiB", "-ngl", "2"]
    for target, words, options in (
        (Q8, settings, dict(
            ctx=256, parallel=2, kv="f32", gpu=["4GiB", "4GiB"], placement=inspector.Placement(n_gpu_layers=2))),
        (Q8, ["--gpu", "rtx3090", "--backend", "vulkan"], dict(gpu="rtx3090", backend="vulkan")),
        (Q8, ["--server"], dict(server=True)),
        (Q8, ["-e", "textbook", "--kv-form", "gqa"], dict(engine="textbook", kv_form="gqa")),
        ("safetensors/llama-tied", ["-c", "128", "--gpu", "h100"], dict(ctx=128, gpu="h100")),
        ("../configs/qwen3-8b.json", ["-e", "llama.cpp", "--quant", "F16"], dict(engine="llama.cpp", quant="F16")),
    ):  # fmt: skip
        said = json.loads(run_inspector(["memory", files / target, *words, "--json"])[1])
        found = inspector.memory(str(files / target), **options)
        assert [x.nbytes for x in found.lines] == [x["nbytes"] for x in said["lines"]]
        assert [(d.device, d.used, d.capacity) for d in found.devices] == [
            (d["device"], d["used"], d["capacity"]) for d in said["devices"]
        ]
        assert (found.fits, found.grade, found.engine) == (said["fits"], said["grade"], said["engine"])


def test_compare_says_what_the_command_says(files, run_inspector, tmp_path):
    import json

    text = "build: 11434 (abc) with cc\nllama_context: n_ctx         = 256\n"
    text += "llama_kv_cache:        CPU KV buffer size =   12.50 MiB\n"
    (tmp_path / "start.log").write_text(text)
    said = json.loads(run_inspector(["compare", tmp_path / "start.log", files / Q8, "--json"])[1])["lines"]
    found = inspector.compare(text, str(files / Q8))
    assert [(x.what, x.device, x.theirs, x.ours, x.off) for x in found] == [
        (x["what"], x["device"], x["log_nbytes"], x["nbytes"], x["off"]) for x in said
    ]
    with pytest.raises(inspector.InspectorError):
        inspector.compare("nothing of the kind", str(files / Q8))


def test_memory_takes_a_target_a_checkpoint_or_facts(files):
    path = str(files / Q8)
    checkpoint = inspector.inspect(path)
    asked = [inspector.memory(x, ctx=256) for x in (path, checkpoint, read_facts(checkpoint))]
    assert asked[0] == asked[1] == asked[2]
    with pytest.raises(inspector.WorkloadError, match="srver"):
        inspector.memory(path, srver=True)


def test_fit_takes_a_target_a_checkpoint_or_facts(files):
    path = str(files / Q8)
    checkpoint = inspector.inspect(path)
    answers = [inspector.fit(x, "8GiB") for x in (path, checkpoint, read_facts(checkpoint), [checkpoint])]
    for found in answers:
        assert found.fits
        best = found.choices[0]
        assert (best.n_ctx, best.level, best.candidate.label) == (512, "all", "Q8_0")
        assert best.workload.outputs == "last"
    assert answers[0].choices == answers[1].choices


def test_fit_says_what_the_command_says(files, run_inspector):
    import json

    found = inspector.fit(str(files / Q8), ["rtx4090", *inspector.parse_gpu("4GiB")], n_ctx=256, most=3)
    said = json.loads(run_inspector(["fit", files / Q8, "--gpu", "rtx4090", "--gpu", "4GiB", "-c", 256, "--json"])[1])
    assert len(said["choices"]) == len(found.choices) > 0
    for ours, theirs in zip(found.choices, said["choices"], strict=True):
        assert ours.n_ctx == theirs["n_ctx"]
        assert ours.estimate.total_nbytes == theirs["total_nbytes"]


def test_fit_of_a_folder_is_a_choice_among_its_models_and_says_which_could_not_be_read(files, tmp_path):
    for name in ("q8_0", "align-128"):
        shutil.copyfile(files / "gguf" / f"tiny-llama-{name}.gguf", tmp_path / f"tiny-{name}.gguf")
    (tmp_path / "tiny-bad.gguf").write_bytes(b"GGUF" + bytes(4))
    found = inspector.fit(str(tmp_path), "8GiB")
    assert {c.candidate.path for c in found.choices} <= {str(p) for p in tmp_path.iterdir()}
    assert found.n_candidates >= 2
    assert any("tiny-bad.gguf is left out" in note for note in found.notes)


def test_fit_chooses_among_models_and_leaves_out_what_is_too_coarse(files):
    models = [inspector.inspect(str(files / "gguf" / f"tiny-llama-{x}.gguf")) for x in ("q8_0", "align-128")]
    found = inspector.fit(models, "8GiB", min_quant="Q8_0")
    assert {c.candidate.label for c in found.choices} == {"Q8_0"}
    with pytest.raises(inspector.InspectorError, match="nothing to choose from"):
        inspector.fit([], "8GiB")
    with pytest.raises(inspector.InspectorError, match="engine"):
        inspector.fit(models, "8GiB", engine="llama.cp")


def test_a_size_is_that_of_the_command(files, run_inspector):
    import json

    answer = inspector.quantize_size(str(files / Q8), "Q4_K_M", imatrix=True)
    said = json.loads(
        run_inspector(["quantize-size", files / Q8, "--to", "Q4_K_M", "--imatrix", "--json"])[1]
    )["results"][0]  # fmt: skip
    assert (answer.nbytes, answer.n_params, answer.grade) == (said["nbytes"], said["n_params"], said["grade"])
    assert answer.nbytes == sum(t.nbytes for t in answer.tensors)


def test_gpus_are_read_as_on_the_command_line():
    assert inspector.parse_gpu is parse_gpu
    assert inspector.parse_gpu("2x24GiB")[1].replace(name="24.00 GiB") == inspector.parse_gpu("24GiB")[0]


def test_inspect_is_open_checkpoint(files):
    path = str(files / Q8)
    assert inspector.inspect(path) == open_checkpoint(path)


def examples(root):
    page = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_the_example_in_readme_runs(root, files):
    (code,) = examples(root)
    done = python(root, code.replace("model.gguf", str(files / Q8)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("45216 2 ")


@pytest.mark.slow
def test_mypy_strict_accepts_the_example_in_readme(root, tmp_path):
    pytest.importorskip("mypy", reason="mypy is in the dev group")
    (code,) = examples(root)
    extra = (
        "import inspector.audit.runner\n"
        "audited: inspector.AuditReport = inspector.audit('model.gguf', deep=True)\n"
        "found: tuple[inspector.Finding, ...] = audited.findings\n"
        "changes: tuple[inspector.Change, ...] = inspector.diff('a', 'b').changes\n"
        "document: dict[str, object] = facts.to_json()\n"
        "choice: inspector.Choice = inspector.fit(facts, inspector.parse_gpu('rtx4090')).choices[0]\n"
        "asked: inspector.Estimate = inspector.memory('m.gguf', gpu=['2xrtx3090', '8GiB'], ctx=4096)\n"
        "size: int | None = inspector.quantize_size(checkpoint, 'Q4_K_M').nbytes\n"
    )
    place = os.path.dirname(os.path.dirname(inspector.__file__))
    # mypy finds an installed package by itself, and refuses to be pointed at it
    found_by = {} if "site-packages" in place else {"MYPYPATH": place}
    wrong = (
        "inspector.memory(3)\ninspector.fit(facts)\ninspector.Workload(n_ctxx=1)\ninspector.quantize_size(facts, 4)\n"
    )
    for name, text, code_wanted in (("right", code + extra, 0), ("wrong", code + wrong, 1)):
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(root / ".mypy_cache"), path],
            cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
            env={**os.environ, **found_by},
        )  # fmt: skip
        assert done.returncode == code_wanted, done.stdout
        errors = [line for line in done.stdout.splitlines() if ": error: " in line]
        assert len(errors) == (4 if code_wanted else 0), done.stdout
