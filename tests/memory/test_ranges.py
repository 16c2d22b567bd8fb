"""What is not known is a range: its least and its most hold what was measured, and sums and verdicts take the most."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path

import pytest

import inspector
from inspector.checkpoint import Checkpoint, open_checkpoint
from inspector.facts import read_facts
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.devices.asked import gpus_asked
from inspector.memory.devices.gpus import GPUS, GpuModel, context_range, least_runtime, parse_gpu, under
from inspector.memory.devices.placement import device_totals
from inspector.memory.engines import llamacpp, vllm
from inspector.memory.engines.llamacpp.compute import STAND_IN
from inspector.memory.engines.shared.runtime import LIBRARIES, context_of
from inspector.memory.engines.vllm.profile import GRAPHS, SEVERAL, captured
from inspector.memory.estimate import Gpu, Line, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
STARTS = [json.loads(line) for line in (FIXTURES / "vllm_starts.jsonl").read_text("utf-8").splitlines()]
CONTEXTS = [json.loads(line) for line in (FIXTURES / "contexts.jsonl").read_text("utf-8").splitlines()]


def started(row, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(row["config"]))
    gpus = gpus_asked([f"{row.get('gpus', 1)}x{row['card']}"])
    place = Placement(gpus=gpus, tensor_parallel=len(gpus))
    workload = Workload(n_ctx=row["n_ctx"])
    return vllm.estimate(read_facts(open_checkpoint(str(path))), workload, placement=place, **row["settings"])


def ends(result, *labels):
    """The ends of the first rank's lines that are called so."""
    first = result.lines[0].device
    lines = [x for x in result.lines if x.device == first and (x.label or x.what) in labels]
    return sum(x.least for x in lines) / GIB, sum(x.nbytes for x in lines) / GIB


@pytest.mark.parametrize("row", [r for r in STARTS if "config" in r], ids=lambda r: r["model"])
def test_a_profiling_run_on_a_real_card_lies_in_its_range(row, tmp_path):
    """Later releases print what they expect of graphs as part of the peak."""
    parts = ("compute", "cuda_graphs") if row["graphs_in_activation"] else ("compute",)
    low, high = ends(started(row, tmp_path), *parts)
    assert low <= row["activation_gib"] <= high


GRAPHED = [row for row in STARTS if "graphs_gib" in row]


@pytest.mark.parametrize("row", GRAPHED, ids=lambda r: f"{r['model']} {r['vllm']}")
def test_graphs_on_a_real_card_lie_in_their_range(row):
    low, high = GRAPHS[row["kind"]]
    assert low <= row["graphs_gib"] * GIB / MIB / sum(row["captured"]) / row["layers"] <= high


def test_the_most_that_a_graph_takes_of_a_layer_is_a_log_rounded_up():
    for kind, (_, most) in GRAPHS.items():
        seen = (r["graphs_gib"] * GIB / MIB / sum(r["captured"]) / r["layers"] for r in GRAPHED if r["kind"] == kind)
        assert most - 0.015 < max(seen) <= most


@pytest.mark.parametrize(
    ("seqs", "tokens", "card", "graphs"),
    [
        (256, 2048, "rtx4090", 51 + 35), (128, 2048, "rtx4090", 35 + 19), (32, 8192, "h100", 11 + 7),
        (1024, 8192, "h100", 51 + 51), (1024, 16384, "b200", 83 + 83), (1, 2048, "rtx4090", 2 + 1),
    ],
)  # fmt: skip
def test_as_many_graphs_are_captured_as_logs_count(seqs, tokens, card, graphs):
    assert captured(seqs, tokens, parse_gpu(card)[0]) == graphs


@pytest.mark.parametrize("row", [r for r in STARTS if "beside_gib" in r], ids=lambda r: r["model"])
def test_libraries_of_a_real_run_lie_in_their_range(row):
    low, high = SEVERAL[row["kind"]] if row.get("gpus", 1) > 1 else LIBRARIES
    assert low <= row["beside_gib"] <= high


@pytest.mark.parametrize("row", [r for r in STARTS if "free_gib" in r], ids=lambda r: r["card"])
def test_what_a_card_lacks_at_the_start_lies_in_its_range(row):
    """The size that CUDA reports, which hides nothing more."""
    card = Gpu("card", int(row["total_gib"] * GIB), context=1)
    low, high = context_of(card)
    assert low <= (row["total_gib"] - row["free_gib"]) * GIB + 0.005 * GIB
    assert (row["total_gib"] - row["free_gib"]) * GIB <= high + 0.005 * GIB


@pytest.mark.parametrize("row", CONTEXTS, ids=lambda r: f"{r['card']} {r['backend']} {r['taken_mib']}")
def test_what_a_runtime_took_of_an_idle_card_lies_in_its_range(row):
    if row["backend"] == "cuda":
        low, high = context_range(row["total_mib"] * MIB)
    else:
        low, high = (
            least_runtime(row["backend"]),
            GpuModel("", "", row["total_mib"], "", backend=row["backend"]).reserve,
        )
    assert low <= row["taken_mib"] * MIB <= high


def test_the_ends_of_contexts_are_those_of_some_card():
    for size in {row["total_mib"] for row in CONTEXTS if row["backend"] == "cuda"}:
        ends = context_range(size * MIB)
        alike = [r["taken_mib"] * MIB for r in CONTEXTS
                 if r["backend"] == "cuda" and context_range(r["total_mib"] * MIB) == ends]  # fmt: skip
        assert ends == (min(alike), max(alike))


CARDS = (
    ("llama.cpp", "rtx4090"),
    ("llama.cpp", "rx7900xtx"),
    ("vllm", "2xh100"),
    ("mlx", "M2 Max 96GB"),
    ("transformers", "2xrtx4090"),
    ("sglang", "2xh100"),
    ("textbook", "rtx4090"),
)


MODELS = ("gemma-3-1b", "qwen3-30b-a3b", "qwen3-next-80b-a3b", "gemma-3n-e4b-text")
ASKED = [(*card, name) for card in CARDS for name in MODELS if (card[0], name) != ("mlx", "gemma-3n-e4b-text")]


@pytest.mark.parametrize(("engine", "gpu", "name"), ASKED)
def test_sums_of_lower_ends_are_lower_ends_of_sums_and_verdicts_take_the_safe_end(engine, name, gpu):
    result = inspector.memory(str(FIXTURES / "configs" / f"{name}.json"), engine=engine, gpu=gpu, ctx=4096)
    assert all(0 <= line.least <= line.nbytes for line in result.lines)
    assert result.total_low == sum(x.least for x in result.lines) <= result.total_nbytes
    for device in result.devices:
        mine = [x for x in result.lines if x.device == device.device or (device.unified and x.device == "host")]
        below = sum(x.nbytes - x.least for x in mine)
        assert (device.used if device.low is None else device.low) == device.used - below
        if device.capacity is not None and not result.unknown:
            assert device.fits == (device.used <= device.usable)


def test_a_device_that_only_the_lower_end_fits_is_full():
    line = Line("compute", 3 * GIB, "modelled", "", "card", low=GIB)
    (device,) = [d for d in device_totals([line], (Gpu("card", 2 * GIB),)) if d.device == "card"]
    assert (device.fits, device.low, device.used) == (False, GIB, 3 * GIB)


def test_other_backends_keep_back_a_range_and_cuda_a_figure():
    amd, nvidia = parse_gpu("rx7900xtx")[0], parse_gpu("rtx4090")[0]
    assert amd.reserve_low == 16 * MIB < amd.reserve
    assert nvidia.reserve_low is None
    assert 0 < nvidia.context_low < nvidia.context
    moved = under(nvidia, "vulkan")
    assert (moved.context_low, moved.reserve_low) == (0, 3 * MIB)
    assert under(nvidia, "rpc").reserve_low is None
    assert all(row.as_gpu().context_low <= row.context for row in GPUS.values())


def renamed(model):
    """The facts of a file whose architecture's name nobody knows."""
    arch, raw = model["arch"].encode(), base64.b64decode(model["header"])
    other = b"~" * len(arch)
    at = raw.index(arch, raw.index(b"general.architecture"))
    raw = (raw[:at] + other + raw[at + len(arch) :]).replace(arch + b".", other + b".")
    source = MemorySource(raw, name="m", size=model["size"])
    return read_facts_gguf(Checkpoint("m", "gguf", (read_gguf(source),), {}))


def test_an_architecture_that_is_not_known_computes_within_the_range_of_those_that_are():
    seen = []
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        models = [json.loads(line) for line in lines]
    for model in {m["arch"]: m for m in models}.values():
        row = next((r for r in model["rows"] if "model" in r), None)
        if row is None:
            continue
        n_ctx, n_seqs, unified, n_batch, n_ubatch, k, v, flash, full, n_outputs = row["settings"].split()
        workload = Workload(
            n_ctx=int(n_ctx), n_seqs=int(n_seqs), n_batch=int(n_batch), n_ubatch=int(n_ubatch), kv_dtype_k=k,
            kv_dtype_v=v, flash_attn={"on": True, "off": False}.get(flash), kv_unified=unified == "1",
            swa_full=full == "1", outputs="all" if n_outputs == "0" else "last",
        )  # fmt: skip
        found = [x for x in llamacpp.estimate(renamed(model), workload).lines if x.what == "compute"]
        if found:  # else a plain decoder lacks what it is made of
            low, high = sum(x.least for x in found), sum(x.nbytes for x in found)
            assert low <= row["compute"] <= high, (model["arch"], low, row["compute"], high)
            seen.append(row["compute"] / high * STAND_IN[1])
    assert len(seen) > 80
    assert max(seen) > 2
