"""Models of other programs' stores, written by their own layouts, as targets of every command."""

from __future__ import annotations

import json
import os

import make_stores
import pytest

from inspector.checkpoint import SeveralModels, open_checkpoint
from inspector.errors import FormatError, InspectorError, NotAModelFile, NotFound
from inspector.stores.ollama import split_model_name
from inspector.stores.walk import find_models

TEMPLATE = "{{ .System }} {{ .Prompt }}"


@pytest.fixture
def gguf(files):
    return lambda name="tiny-llama-q8_0": (files / "gguf" / f"{name}.gguf").read_bytes()


@pytest.fixture
def ollama(tmp_path, gguf, monkeypatch):
    """A store of two models, one with all that Ollama keeps beside weights; OLLAMA_MODELS names it."""
    root = tmp_path / "models"
    make_stores.ollama_model(
        root,
        "llama3.2:3b",
        gguf(),
        projector=gguf("mmproj-tiny-f16"),
        adapter=gguf("tiny-llama-lora-f16"),
        template=TEMPLATE,
        system="Be brief.",
        params={"num_ctx": 64, "stop": ["</s>"]},
    )
    make_stores.ollama_model(root, "me/moe", gguf("tiny-moe-q8_0"), v2=os.name != "nt")
    monkeypatch.setenv("OLLAMA_MODELS", str(root))
    return root


def blob_of(root, target, kind="model"):
    manifest = json.loads((root / "manifests" / "registry.ollama.ai" / "library" / target).read_text())
    digest = next(x["digest"] for x in manifest["layers"] if x["mediaType"].endswith(kind))
    return root / "blobs" / digest.replace(":", "-")


def test_a_model_of_ollama_is_its_file_and_what_is_kept_beside_it(ollama, files):
    found = open_checkpoint("ollama:llama3.2:3b")
    alone = open_checkpoint(str(files / "gguf" / "tiny-llama-q8_0.gguf"))
    assert found.tensors == alone.tensors
    assert [c.role for c in found.companions] == ["lora", "mmproj"]
    kept = found.keeping
    assert (kept.program, kept.template, kept.system, kept.n_ctx) == ("Ollama", TEMPLATE, "Be brief.", 64)
    assert [len(kept.projectors), len(kept.adapters)] == [1, 1]


@pytest.mark.parametrize(
    "name", ["ollama:me/moe", "ollama:me/moe:latest", "ollama:registry.ollama.ai/me/moe", "OLLAMA:me/moe"]
)
def test_names_are_filled_in_as_ollama_does(ollama, name):
    assert open_checkpoint(name).files[0].name == "me-moe-latest.gguf"


def test_a_store_elsewhere_is_named_by_its_folder_or_a_manifests_file(ollama, monkeypatch):
    monkeypatch.delenv("OLLAMA_MODELS")
    manifest = ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "3b"
    for target in (f"{ollama}:llama3.2:3b", str(manifest)):
        assert open_checkpoint(target).keeping.n_ctx == 64


def test_a_store_is_all_its_models(ollama):
    with pytest.raises(SeveralModels) as several:
        open_checkpoint(str(ollama))
    assert [name for name, _, _ in several.value.models] == ["llama3.2:3b", "me/moe:latest"]
    assert [len(found.files) for found in several.value.open_each()] == [1, 1]


def test_every_target_that_is_found_can_be_opened(ollama):
    for model in find_models(str(ollama)):
        assert open_checkpoint(model.target).files[0].size == os.path.getsize(model.paths[0])


def test_a_name_that_is_not_there_is_answered_with_those_that_are(ollama):
    with pytest.raises(NotFound) as error:
        open_checkpoint("ollama:llama3.2")
    assert "llama3.2:3b" in error.value.hint


BAD_NAMES = ("", "../../etc/passwd", "a/b/c/d", "x:..", "-x", "a//b", "x:y/z", "x" * 200, "a\x1b[31m")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_name_leaves_the_store(name):
    with pytest.raises(NotFound):
        split_model_name(name)


def test_a_blob_that_is_missing_is_named(ollama):
    blob = blob_of(ollama, "llama3.2/3b")
    blob.unlink()
    with pytest.raises(NotFound, match=f"{blob.name[:19]}… .*missing|{blob.name[:19]}…. is missing"):
        open_checkpoint("ollama:llama3.2:3b")
    (found,) = [m for m in find_models(str(ollama)) if m.name == "llama3.2:3b"]
    assert found.error == f"blob {blob.name[:19]}… is missing"


@pytest.mark.parametrize("more", [-1, 1])
def test_a_blob_of_another_size_is_a_note(ollama, more):
    blob = blob_of(ollama, "llama3.2/3b", "adapter")
    n = blob.stat().st_size
    os.truncate(blob, n + more)
    words = f"has {n + more:,} bytes, the manifest says {n:,}"
    assert any(words in note for note in open_checkpoint("ollama:llama3.2:3b").notes)


HOSTILE = {
    "not JSON": b"\x00",
    "a bomb of brackets": b"[" * 100_000,
    "no object": b"[]",
    "no layers": b"{}",
    "a digest that is a path": b'{"layers":[{"digest":"sha256:../../../../etc/passwd","size":1}]}',
    "a digest of another kind": b'{"layers":[{"digest":"md5:00","size":1}]}',
    "a digest that is no text": b'{"layers":[{"digest":7,"size":1}]}',
    "a negative size": b'{"layers":[{"digest":"sha256:%s","size":-1}]}' % (b"0" * 64),
    "a layer that is no object": b'{"layers":[7]}',
    "a list of nothing": b'{"mediaType":"application/vnd.ollama.manifest.list.v2+json","manifests":[]}',
    "more layers than any": b'{"layers":[' + b"0," * 30_000 + b"0]}",
    "more bytes than any": b" " * (5 << 20),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_manifest_is_one_line(ollama, kind):
    (ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "3b").write_bytes(HOSTILE[kind])
    with pytest.raises(InspectorError) as error:
        open_checkpoint("ollama:llama3.2:3b")
    assert "\n" not in str(error.value)
    (found,) = [m for m in find_models(str(ollama)) if m.name == "llama3.2:3b"]
    assert found.error.startswith("its manifest cannot be read")


def test_a_blob_that_links_out_of_the_store_is_not_opened(ollama, tmp_path, gguf):
    blob = blob_of(ollama, "llama3.2/3b")
    (tmp_path / "outside").write_bytes(gguf())
    blob.unlink()
    blob.symlink_to(tmp_path / "outside")
    with pytest.raises(FormatError, match="out of the store"):
        open_checkpoint("ollama:llama3.2:3b")


def test_weights_that_are_a_blob_a_tensor_are_refused_in_words(ollama):
    path = ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "3b"
    path.write_text(
        json.dumps(
            {
                "layers": [
                    {"mediaType": "application/vnd.ollama.image.tensor", "digest": "sha256:" + "0" * 64, "size": 1}
                ]
            }
        )
    )
    with pytest.raises(NotAModelFile, match="1 tensors that are a blob each"):
        open_checkpoint("ollama:llama3.2:3b")


def test_blobs_that_no_manifest_names_could_be_freed(ollama):
    make_stores.put(ollama, b"left behind", dash=True)
    (ollama / "blobs" / "sha256-00-partial").write_bytes(b"half")
    rest = {m.role: m.nbytes for m in find_models(str(ollama)) if m.role != "model"}
    assert rest == {"unused": 11, "unfinished": 4}


def test_nothing_is_called_unused_where_a_manifest_cannot_be_read(ollama):
    make_stores.put(ollama, b"left behind", dash=True)
    (ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "3b").write_bytes(b"{")
    assert [m.role for m in find_models(str(ollama))] == ["model", "model"]


def test_the_manifest_of_a_list_is_the_one_that_ollama_runs(ollama, tmp_path):
    path = ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "3b"
    digest = make_stores.put(ollama, path.read_bytes(), dash=True)
    other = {"mediaType": make_stores.DOCKER_MANIFEST, "digest": "sha256:" + "0" * 64, "runner": "mlx"}
    listed = {
        "mediaType": "application/vnd.ollama.manifest.list.v2+json",
        "manifests": [other, {"mediaType": make_stores.DOCKER_MANIFEST, "digest": digest, "runner": "ollama"}],
    }
    path.write_text(json.dumps(listed))
    assert open_checkpoint("ollama:llama3.2:3b").keeping.n_ctx == 64
    assert {m.role for m in find_models(str(ollama))} == {"model"}


PACK = "application/vnd.cncf.model."


@pytest.fixture(params=["oci", "docker"])
def image(request, tmp_path, files, gguf):
    """A store of a safetensors model with its documents, and of a GGUF model with its projector."""
    root = tmp_path / request.param
    root.mkdir()
    folder = files / "safetensors" / "llama-sharded"
    named = sorted(p for p in folder.iterdir() if p.suffix in {".json", ".safetensors"})
    parts = [(f"{PACK}weight.{'config.' if p.suffix == '.json' else ''}v1.raw", p.name, p.read_bytes()) for p in named]
    make_stores.oci_image(root, "x/sharded:1", parts, config=f"{PACK}config.v1+json", docker=request.param == "docker")
    docker = [
        ("application/vnd.docker.ai.gguf.v3", "", gguf()),
        ("application/vnd.docker.ai.mmproj", "", gguf("mmproj-tiny-f16")),
    ]
    make_stores.oci_image(
        root,
        "index.docker.io/ai/tiny:latest",
        docker,
        config="application/vnd.docker.ai.model.config.v0.1+json",
        docker=request.param == "docker",
    )
    return root


def test_images_hold_models_of_both_formats(image, files):
    sharded = open_checkpoint(f"{image}:x/sharded:1")
    alone = open_checkpoint(str(files / "safetensors" / "llama-sharded"))
    assert (sharded.tensors, sharded.config) == (alone.tensors, alone.config)
    tiny = open_checkpoint(f"{image}:ai/tiny:latest")
    assert (tiny.format, tiny.keeping.n_ctx, len(tiny.keeping.projectors)) == ("gguf", 2048, 1)
    assert [m.name for m in find_models(str(image))] == ["x/sharded:1", "ai/tiny:latest"]


def test_a_jinja_template_of_a_store_is_audited(tmp_path, gguf, run_inspector):
    parts = [("application/vnd.docker.ai.gguf.v3", "", gguf())]
    for name, text in (("tame", b"{{ messages[0].content }}"), ("wild", b"{{ lipsum.__globals__['os'] }}")):
        layers = [*parts, ("application/vnd.docker.ai.chat.template.jinja", "", text)]
        make_stores.oci_image(tmp_path, name, layers, config=f"{PACK}config.v1+json")
    assert run_inspector(["audit", f"{tmp_path}:tame"])[0] == 0
    code, out, _ = run_inspector(["audit", f"{tmp_path}:wild", "--fail-on", "warning"])
    assert code == 1
    assert "chat_template.jinja" in out


def test_titles_that_lead_elsewhere_are_not_taken(tmp_path, gguf):
    part = (f"{PACK}weight.v1.raw", "../../x.gguf", gguf())
    make_stores.oci_image(tmp_path, "x", [part], config=f"{PACK}config.v1+json")
    assert open_checkpoint(str(tmp_path)).files[0].name == "x.gguf"


def test_folders_of_any_depth_and_of_blobs_are_targets(tmp_path, gguf):
    for name in ("pub/repo/one.gguf", "pub/repo2/two-Q8_0.gguf"):
        (tmp_path / "lm" / name).parent.mkdir(parents=True)
        (tmp_path / "lm" / name).write_bytes(gguf())
    with pytest.raises(SeveralModels) as several:
        open_checkpoint(str(tmp_path / "lm"))
    assert [name for name, _, _ in several.value.models] == ["pub/repo/one.gguf", "pub/repo2/two-Q8_0.gguf"]
    assert open_checkpoint(f"{tmp_path / 'lm'}:Q8_0").files[0].name == "two-Q8_0.gguf"
    blobs = tmp_path / "loose"
    make_stores.put(blobs, gguf(), dash=True)
    make_stores.put(blobs, b"a template", dash=True)
    (found,) = find_models(str(blobs))
    assert (found.store, len(found.sha256)) == ("blobs", 64)
    assert open_checkpoint(str(blobs)).format == "gguf"


def test_a_hub_cache_is_every_snapshot_of_every_repository(tmp_path, gguf):
    repo = tmp_path / "hub" / "models--org--tiny"
    digits = "a" * 64
    (repo / "blobs").mkdir(parents=True)
    (repo / "blobs" / digits).write_bytes(gguf())
    (repo / "blobs" / ("b" * 64)).write_bytes(b"of a snapshot that is gone")
    snapshot = repo / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "tiny-Q8_0.gguf").symlink_to(f"../../blobs/{digits}")
    found = {m.role: m for m in find_models(str(tmp_path / "hub"))}
    assert (found["model"].name, found["model"].sha256) == ("org/tiny/tiny-Q8_0.gguf", digits)
    assert found["unused"].nbytes == 26
    assert open_checkpoint(str(tmp_path / "hub")).format == "gguf"


def test_memory_counts_what_ollama_would_load(ollama, run_inspector):
    env = {"OLLAMA_MODELS": str(ollama)}
    code, out, _ = run_inspector(["memory", "ollama:llama3.2:3b", "--json"], env=env)
    answer = json.loads(out)
    labels = {line.get("label") for line in answer["lines"] if line["what"] == "weights"}
    assert code == 0
    assert {"mmproj", "lora"} <= labels
    assert answer["workload"]["n_ctx"] == 64
    assert sum("Ollama" in note for note in answer["notes"]) == 3
    answer = json.loads(run_inspector(["memory", "ollama:llama3.2:3b", "-c", "512", "--json"], env=env)[1])
    assert answer["workload"]["n_ctx"] == 512


def test_fit_says_that_a_projector_of_an_unknown_kind_is_left_out(ollama, run_inspector):
    words = ["fit", "ollama:llama3.2:3b", "--gpu", "24GiB", "--json"]
    code, out, _ = run_inspector(words, env={"OLLAMA_MODELS": str(ollama)})
    assert code == 0
    answer = json.loads(out)
    assert any("projector that Ollama keeps with it is not counted" in note for note in answer["notes"])
    assert answer["choices"][0]["n_ctx"] == 64


def test_show_says_which_template_ollama_would_use(ollama, run_inspector):
    code, out, _ = run_inspector(["ollama:llama3.2:3b"], env={"OLLAMA_MODELS": str(ollama)})
    assert code == 0
    assert "Ollama's, 27 characters of Go" in out
    assert TEMPLATE in out
    assert "num_ctx 64" in out


def test_an_audit_finds_what_a_manifest_promises_and_the_store_lacks(ollama, run_inspector):
    env = {"OLLAMA_MODELS": str(ollama)}
    assert run_inspector(["audit", str(ollama), "--hash"], env=env)[0] == 0
    blob_of(ollama, "llama3.2/3b", "projector").unlink()
    code, out, _ = run_inspector(["audit", "ollama:llama3.2:3b"], env=env)
    assert code == 1
    assert "FD021" in out


@pytest.mark.parametrize(
    "command", [["fit", "--gpu", "none"], ["tensors"], ["meta"], ["quantize-size", "--to", "Q4_0"]]
)
def test_every_command_takes_a_stored_model(ollama, run_inspector, command):
    code, _, err = run_inspector([command[0], "ollama:me/moe", *command[1:]], env={"OLLAMA_MODELS": str(ollama)})
    assert (code, err) == (0, "")


def test_two_stored_models_can_be_compared_and_reported(ollama, run_inspector, tmp_path):
    env = {"OLLAMA_MODELS": str(ollama)}
    assert run_inspector(["diff", "ollama:llama3.2:3b", "ollama:me/moe"], env=env)[0] == 1
    page = tmp_path / "page.html"
    assert run_inspector(["report", "ollama:me/moe", "-o", page], env=env)[0] == 0
    assert page.stat().st_size > 10_000
