"""A repository opens as its downloaded files would, for a bounded number of requests and bytes."""

from __future__ import annotations

import os
import random
import re
import time

import gguf_builder as g
import pytest
from hub_models import CONFIG, QUANTS, REPOSITORIES, long_gguf, safetensors, shards, small_gguf, vocabulary, write
from hub_server import SHA, TOKEN, HubServer, quick_hub  # noqa: F401 - a fixture

from inspector.checkpoint import Checkpoint, SeveralModels, open_checkpoint
from inspector.checkpoint.hub import GatedModel, reopen
from inspector.checkpoint.listing import Entry, Listing, folders_of
from inspector.checkpoint.ranged import needed_documents
from inspector.errors import AccessDenied, InspectorError, NotAModelFile, NotFound, Offline, SourceError, Unreachable
from inspector.facts import read_facts
from inspector.report.show import show_json
from inspector.sources.http import Client
from inspector.sources.target import parse_target


def opened(hub, target="org/model", **options):
    return open_checkpoint(target, client=Client(endpoint=hub.endpoint), **options)


def report(checkpoint: Checkpoint):
    """The JSON that people see, but for what tells where the files came from."""
    facts = read_facts(checkpoint)
    body = show_json(checkpoint, facts, claimed=None, actual=None)
    for entry in body["files"]:
        entry.pop("sha256", None)
    return {k: v for k, v in body.items() if k not in {"target", "revision"}}


# --- the same as downloaded ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_repository_is_what_its_downloaded_folder_is(name, tmp_path):
    files = REPOSITORIES[name]
    local = open_checkpoint(str(write(tmp_path, files)))
    with HubServer(files) as hub:
        remote = opened(hub)
        assert report(remote) == report(local)
        assert remote.files == local.files
        assert [c.checkpoint.tensors for c in remote.components] == [c.checkpoint.tensors for c in local.components]
        assert (remote.revision, remote.target) == (SHA, "org/model")
        large = {f.name for f in remote.files}
        assert set(remote.sha256 or {}) == large
        assert all(remote.sha256[n] == hub.blobs[n].sha256 for n in large)


@pytest.mark.parametrize("path", ["gguf", "safetensors"])
def test_the_fixtures_are_the_same_from_afar(files, path):
    """Every committed file, good or bad: the same header, or the same refusal."""
    names = sorted(p.name for p in (files / path).iterdir() if p.suffix in {".gguf", ".safetensors"})
    assert len(names) > 1
    with HubServer({name: files / path / name for name in names}) as hub:
        for name in names:
            if (files / path / name).stat().st_size == 0:
                continue
            try:
                local = open_checkpoint(str(files / path / name)).files
            except InspectorError as error:
                with pytest.raises(type(error), match=re.escape(str(error).removeprefix(f"{name}: "))):
                    opened(hub, f"org/model/{name}")
            else:
                assert opened(hub, f"org/model/{name}").files == local


@pytest.mark.parametrize("target", ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf"])
def test_any_part_stands_for_the_whole(target, tmp_path):
    files = REPOSITORIES["split gguf"]
    local = open_checkpoint(str(write(tmp_path, files) / target))
    with HubServer(files) as hub:
        remote = opened(hub, f"org/model/{target}")
        assert (remote.files, remote.notes, remote.companions) == (local.files, local.notes, local.companions)
        assert len(remote.files) == 3


@pytest.mark.parametrize("index", [True, False])
def test_any_shard_stands_for_the_whole(index, tmp_path):
    files = shards(3, 2, index=index)
    name = "model-00002-of-00003.safetensors"
    local = open_checkpoint(str(write(tmp_path, files) / name))
    with HubServer(files) as hub:
        remote = opened(hub, f"org/model/{name}")
        assert remote.files == local.files
        assert report(remote) == report(local)


def test_folders_and_configs_of_a_repository_can_be_named():
    with HubServer(REPOSITORIES["diffusers"]) as hub:
        vae = opened(hub, "org/model/vae")
        assert [t.name for t in vae.tensors] == ["enc"]
        encoder = opened(hub, f"{hub.endpoint}/org/model/tree/main/text_encoder".replace(hub.endpoint, "https://hf.co"))
        assert [t.name for t in encoder.tensors] == ["emb", "x"]
        assert opened(hub, "org/model/text_encoder/config.json").config == CONFIG


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/7", SHA])
def test_revisions_are_pinned_to_their_commit(revision):
    with HubServer(REPOSITORIES["one safetensors"]) as hub:
        assert opened(hub, f"org/model@{revision}").revision == SHA
        assert all(SHA in path for path, _ in hub.requests if "/resolve/" in path)


def test_a_pipelines_components_are_counted_once_each(tmp_path):
    checkpoint = open_checkpoint(str(write(tmp_path, REPOSITORIES["diffusers"])))
    rows = [(c.name, len(c.checkpoint.tensors)) for c in checkpoint.components]
    assert rows == [("unet", 3), ("text_encoder", 2), ("vae", 1)]
    assert [f.name for f in checkpoint.files] == ["unet/diffusion_pytorch_model.safetensors"]
    twins = [c.name for c in checkpoint.components[0].checkpoint.companions if c.role == "twin"]
    assert twins == ["diffusion_pytorch_model.fp16.safetensors"]


# --- quants --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quant", "names"),
    [
        ("Q4_0", ["m.Q4_0.gguf"]),
        ("f16", ["m.F16.gguf"]),
        ("F32", ["big/m.F32-00001-of-00002.gguf", "big/m.F32-00002-of-00002.gguf"]),
    ],
)
def test_a_tag_picks_one_model(quant, names):
    with HubServer(QUANTS) as hub:
        checkpoint = opened(hub, f"org/model:{quant}")
        assert [f.name for f in checkpoint.files] == names
        assert {c.role for c in checkpoint.companions} == {"quant"}
        assert not any("config.json" in path for path, _ in hub.requests)


def test_a_tag_that_matches_twice_says_so():
    with HubServer(QUANTS) as hub:
        checkpoint = opened(hub, "org/model:Q8_0")
        assert [f.name for f in checkpoint.files] == ["m.Q8_0.gguf"]
        assert "2 models match Q8_0" in " ".join(checkpoint.notes)


def test_a_tag_that_matches_nothing_lists_what_there_is():
    with HubServer(QUANTS) as hub, pytest.raises(NotFound, match="Q2_K") as caught:
        opened(hub, "org/model:Q2_K")
    assert "Q4_0" in caught.value.hint


def test_several_models_are_listed_and_opened_on_demand(tmp_path):
    with HubServer(QUANTS) as hub:
        with pytest.raises(SeveralModels) as caught:
            opened(hub)
        assert hub.n_requests == 1
        assert len(caught.value.models) == 5
        remote = caught.value.open_each()
    with pytest.raises(SeveralModels) as caught:
        open_checkpoint(str(write(tmp_path, QUANTS)))
    assert [c.files for c in remote] == [c.files for c in caught.value.open_each()]
    assert remote[0].revision == SHA


def test_models_of_one_content_are_read_once():
    one = small_gguf()
    with HubServer({"m.Q4_0.gguf": one, "copy/m.Q8_0.gguf": one}) as hub:
        with pytest.raises(SeveralModels) as caught:
            opened(hub)
        first, second = caught.value.open_each()
        assert hub.n_requests == 3  # the listing, one file's address, one range
    assert first.files[0].tensors == second.files[0].tensors
    assert {c.files[0].name for c in (first, second)} == {"m.Q4_0.gguf", "copy/m.Q8_0.gguf"}


def test_a_file_that_is_not_there_has_near_matches():
    with HubServer(QUANTS) as hub, pytest.raises(NotFound, match=r"no file m\.Q4_1\.gguf") as caught:
        opened(hub, "org/model/m.Q4_1.gguf")
    assert "m.Q4_0.gguf" in caught.value.hint


# --- what it costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_tokens", "n_merges"), [(262_144, 0), (128_256, 280_147), (151_936, 151_387)])
def test_a_long_gguf_header_takes_five_requests_and_a_twentieth_more_than_itself(n_tokens, n_merges):
    with HubServer({"model.gguf": long_gguf(n_tokens, n_merges)}) as hub:
        header = opened(hub).files[0].header_bytes
        assert header > 5_000_000
        assert hub.n_requests <= 5
        assert hub.body_bytes <= 1.05 * header


def test_a_real_gguf_header_takes_five_requests(models_dir):
    with HubServer({"model.Q4_1.gguf": models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf"}) as hub:
        header = opened(hub).files[0].header_bytes
        assert hub.n_requests <= 5
        assert hub.body_bytes <= 1.05 * header


def test_a_small_safetensors_takes_one_listing_and_two_requests_a_file(models_dir):
    folder = models_dir / "all-MiniLM-L6-v2"
    with HubServer({name: folder / name for name in ("model.safetensors", "config.json")}) as hub:
        header = opened(hub).files[0].header_bytes
        assert hub.n_requests <= 5
        assert hub.body_bytes <= 2 * header


@pytest.mark.parametrize("index", [True, False])
def test_thirty_shards_take_63_requests_and_twice_their_headers(index):
    """723 tensors, as in a dense model of 70 B: each shard with a few more or fewer than the next."""
    source = random.Random(3)
    files = shards(30, 1, index=index, data=False)
    names = [name for name in files if name.endswith(".safetensors")]
    for i, name in enumerate(names):
        tensors = [
            f"model.layers.{3 * i + j // 9}.self_attn.{'qkvogud'[j % 7]}_proj.weight"
            for j in range(source.randint(20, 28))
        ]
        files[name] = safetensors(dict.fromkeys(tensors), shape=(16, 16))
    with HubServer(files) as hub:
        checkpoint = opened(hub)
        headers = sum(f.header_bytes for f in checkpoint.files)
        assert len(checkpoint.files) == 30
        assert hub.n_requests <= 63
        assert hub.body_bytes <= 2 * headers
        assert hub.connections <= 34, "16 threads, two origins, and the first of each"


def test_163_shards_and_90_000_tensors_take_seconds_on_a_slow_line():
    files = shards(163, 553, shape=(2, 2))
    with HubServer(files, delay=0.05) as hub:
        start = time.monotonic()
        checkpoint = opened(hub)
        seconds = time.monotonic() - start
        assert len(checkpoint.tensors) == 163 * 553 > 90_000
        assert hub.n_requests <= 1 + 2 + 2 * 163 + 1
        assert seconds < 5


def test_documents_that_say_nothing_new_are_not_fetched():
    def listing(*names):
        return Listing("", {n: Entry(n, "", 10) for n in names}, folders_of(names))

    index, config = "model.safetensors.index.json", "config.json"
    assert needed_documents(listing("a.gguf", config, index)) == set()
    assert needed_documents(listing("model.safetensors", "a.gguf", config), "Q4_0") == set()
    assert needed_documents(listing("model.safetensors", config, "tokenizer_config.json")) == {config}
    parts = [f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    assert needed_documents(listing(*parts, config, index)) == {config}
    assert needed_documents(listing(*parts[:2], config, index)) == {config, index}
    assert needed_documents(listing(*parts, "x.safetensors", config, index)) == {config, index}


# --- the cache -----------------------------------------------------------------------------------------------------


def snapshot(cache, files):
    folder = cache / "models--org--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(SHA)
    return write(folder / "snapshots" / SHA, files)


def test_what_is_in_the_cache_costs_no_request(tmp_path):
    snapshot(tmp_path, REPOSITORIES["one safetensors"])
    with HubServer({}) as hub:
        checkpoint = opened(hub, cache_folder=str(tmp_path))
        assert (checkpoint.revision, hub.n_requests) == (SHA, 0)


@pytest.mark.parametrize(
    ("target", "cached"),
    [
        ("org/model:Q8_0", {"m.Q4_0.gguf": QUANTS["m.Q4_0.gguf"]}),
        ("org/model/m.Q8_0.gguf", {"m.Q4_0.gguf": QUANTS["m.Q4_0.gguf"]}),
        ("org/model@v1.0:Q8_0", {"m.Q8_0.gguf": QUANTS["m.Q8_0.gguf"]}),
        ("org/model:Q8_0", {"config.json": b"{}"}),
        ("org/model:Q8_0", {"m.Q8_0.gguf": QUANTS["m.Q8_0.gguf"][:-100]}),
    ],
)
def test_what_the_cache_lacks_is_asked_for(tmp_path, target, cached):
    snapshot(tmp_path, cached)
    with HubServer(QUANTS) as hub:
        checkpoint = opened(hub, target, cache_folder=str(tmp_path))
        assert [f.name for f in checkpoint.files] == ["m.Q8_0.gguf"]
        assert checkpoint.missing_nbytes == 0
        assert hub.n_requests > 0


def test_shards_that_the_cache_lacks_are_asked_for(tmp_path):
    files = shards(3, 2)
    snapshot(tmp_path, {k: v for k, v in files.items() if "00002" not in k})
    with HubServer(files) as hub:
        assert len(opened(hub, cache_folder=str(tmp_path)).files) == 3


def test_offline_the_cache_is_all_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    files = shards(3, 2)
    snapshot(tmp_path, {k: v for k, v in files.items() if "00002" not in k})
    with HubServer(files) as hub:
        assert opened(hub, cache_folder=str(tmp_path)).missing == ("model-00002-of-00003.safetensors",)
        for target in ("org/other", "org/model:Q8_0", f"{hub.cdn}/plain/x.gguf"):
            with pytest.raises(Offline, match="HF_HUB_OFFLINE"):
                opened(hub, target, cache_folder=str(tmp_path))
        assert hub.n_requests == 0


# --- gated, broken, cut short --------------------------------------------------------------------------------------


def test_a_gated_repository_shows_its_sizes_and_what_to_accept(monkeypatch):
    with HubServer(QUANTS, gated=True) as hub:
        with pytest.raises(GatedModel, match="gated") as caught:
            opened(hub, "org/model:Q4_0")
        assert ("m.Q4_0.gguf", len(QUANTS["m.Q4_0.gguf"]), "Q4_0") in caught.value.models
        assert f"{hub.endpoint}/org/model" in caught.value.hint
        assert caught.value.revision == SHA
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert opened(hub, "org/model:Q4_0").files
        assert hub.leaks == []


def test_a_connection_cut_anywhere_in_a_header_changes_nothing():
    data = long_gguf(40_000, 30_000)
    with HubServer({"model.gguf": data}) as hub:
        whole = opened(hub).files
        assert whole[0].header_bytes > 1_000_000
        for at in range(64 << 10, whole[0].header_bytes, 64 << 10):
            hub.cuts["model.gguf"] = {at}
            assert opened(hub).files == whole
            assert hub.cuts["model.gguf"] <= {1 << 20}, "all but the end of the first range"


@pytest.mark.parametrize("fault", ["whole", "whole:chunked", "drop:3000", "short", "less:700", "more", "status:503"])
def test_faults_of_one_shard_change_nothing(fault):
    files = shards(4, 60)
    with HubServer(files) as hub:
        whole = opened(hub).files
        for name in files:
            hub.faults = {name: [fault] * 2}
            assert opened(hub).files == whole


def test_an_upload_that_was_cut_short_is_reported():
    data = safetensors(["a", "b"])[:-1000]
    with HubServer({"model.safetensors": data}) as hub:
        assert opened(hub).missing_nbytes == 1000


def test_an_lfs_pointer_in_place_of_the_file_is_named():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    with HubServer({"model.safetensors": pointer}) as hub, pytest.raises(NotAModelFile, match="LFS pointer"):
        opened(hub)


def test_one_refused_shard_is_an_error_and_not_a_part():
    faults = {"model-00003-of-00008.safetensors": ["status:500"] * 50}
    with HubServer(shards(8, 2), faults=faults) as hub, pytest.raises(Unreachable, match="model-00003-of-00008"):
        opened(hub)


# --- addresses -----------------------------------------------------------------------------------------------------


def test_a_plain_address_of_any_server_is_read(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HubServer({"m.gguf": small_gguf(), "x/a b.safetensors": safetensors(["t"])}) as hub:
        assert opened(hub, f"{hub.cdn}/plain/m.gguf?sig=1#frag").format == "gguf"
        checkpoint = opened(hub, f"{hub.cdn}/plain/x/a%20b.safetensors")
        assert ([t.name for t in checkpoint.tensors], checkpoint.files[0].name) == (["t"], "a b.safetensors")
        assert hub.leaks == []


def test_the_parts_of_a_split_file_are_found_by_their_addresses():
    with HubServer(REPOSITORIES["split gguf"]) as hub:
        assert len(opened(hub, f"{hub.cdn}/plain/m-00002-of-00003.gguf").files) == 3


def test_an_address_where_nothing_is():
    with HubServer({}) as hub, pytest.raises(NotFound):
        opened(hub, f"{hub.cdn}/plain/m.gguf")


def test_files_are_opened_again_for_what_was_passed_over(tmp_path):
    files = {"sub/m.gguf": small_gguf(n_tokens=500)}
    with HubServer(files) as hub:
        os.environ.pop("HF_TOKEN", None)
        for target in ("org/model", "org/model/sub/m.gguf", f"{hub.cdn}/plain/sub/m.gguf"):
            checkpoint = opened(hub, target)
            name = checkpoint.files[0].name
            with reopen(parse_target(target), checkpoint, name, client=Client(endpoint=hub.endpoint)) as source:
                assert source.read_at(0, 4) == b"GGUF"
        snapshot(tmp_path, files)
        hub.forget()
        checkpoint = opened(hub, cache_folder=str(tmp_path))
        with reopen(parse_target("org/model"), checkpoint, "sub/m.gguf", cache_folder=str(tmp_path)) as source:
            assert source.read_at(0, 4) == b"GGUF"
        assert hub.n_requests == 0


def test_errors_are_ours_and_one_line_each():
    with HubServer(QUANTS) as hub:
        for target in ("org/other", "org/model@nope", "org/model/nope.gguf", "org/model:nope", "org/model/sub/none"):
            with pytest.raises(SourceError) as caught:
                opened(hub, target)
            assert "\n" not in f"{caught.value}{caught.value.hint}"
            assert not isinstance(caught.value, AccessDenied)


# --- several quants ------------------------------------------------------------------------------------------------


def quants_of_one_model(n: int, *, odd: int = -1) -> dict[str, bytes]:
    """Files that differ in name, type and last keys; number `odd` has another vocabulary of as many tokens."""
    files = {}
    for i, quant in enumerate(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "Q6_K")[:n]):
        tokens, _ = vocabulary(60_000, seed=2 if i == odd else 1)
        kv: list[tuple[str, int, object]] = [
            ("general.architecture", g.STR, "llama"),
            ("general.name", g.STR, "x" * i),
            ("llama.block_count", g.U32, 2),
            ("tokenizer.ggml.model", g.STR, "llama"),
            ("tokenizer.ggml.tokens", g.ARR, g.Arr(g.STR, tokens)),
            ("tokenizer.ggml.scores", g.ARR, g.Arr(g.F32, [0.5] * 60_000)),
            ("tokenizer.ggml.bos_token_id", g.U32, 1),
            ("general.file_type", g.U32, i),
            *((f"last.{k}", g.U32, k) for k in range(i)),
        ]
        tensors = [g.Tensor(f"blk.{b}.attn_q.weight", (64, 64), i % 2) for b in range(2)]
        files[f"m.{quant}.gguf"] = g.build(kv, tensors)
    return files


@pytest.mark.parametrize("odd", [-1, 3])
def test_later_quants_are_read_without_their_vocabulary(odd, tmp_path):
    files = quants_of_one_model(7, odd=odd)
    with HubServer(files) as hub:
        with pytest.raises(SeveralModels) as caught:
            opened(hub)
        remote = caught.value.open_each()
        n_bytes = hub.body_bytes
    with pytest.raises(SeveralModels) as caught:
        open_checkpoint(str(write(tmp_path, files)))
    assert [c.files for c in remote] == [c.files for c in caught.value.open_each()]
    header = remote[0].files[0].header_bytes
    assert header > 1_000_000
    assert n_bytes <= (1.2 if odd < 0 else 2.3) * header + 7 * 60_000


def test_later_quants_of_a_server_that_sends_whole_files_are_read_all_the_same(tmp_path):
    files = quants_of_one_model(3)
    with HubServer(files, faults=dict.fromkeys(files, ["whole"] * 20)) as hub:
        with pytest.raises(SeveralModels) as caught:
            opened(hub)
        remote = caught.value.open_each()
    with pytest.raises(SeveralModels) as caught:
        open_checkpoint(str(write(tmp_path, files)))
    assert [c.files for c in remote] == [c.files for c in caught.value.open_each()]
