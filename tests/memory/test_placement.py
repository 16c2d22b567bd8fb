"""Which bytes land on which device: llama.cpp's own split on 215 rows, and the rules one at a time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.errors import WorkloadError
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.devices.placement import assign, device_names, device_totals
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.estimate import Gpu, Line, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"


def facts_of(name):
    size = json.loads((HEADERS / f"{name}.json").read_text())["full_size"]
    data = gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes())
    file = read_gguf(MemorySource(data, name=name, size=size))
    return read_facts_gguf(Checkpoint(name, "gguf", (file,), {}))


def measured():
    rows = {}
    with gzip.open(FIXTURES / "placement.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["model"], []).append(row)
    return rows


MEASURED = measured()


def options_of(args):
    options, rest = {}, list(args)
    while rest:
        name = rest.pop(0)
        options[name] = "" if name == "-nkvo" else rest.pop(0)
    return options


def gpus(n, capacity=64 * GIB):
    return tuple(Gpu(f"RPC{i}", capacity, backend="rpc") for i in range(n))


def run(row, facts):
    o = options_of(row["args"])
    assert set(o) <= {"-c", "-np", "-ctk", "-ctv", "-ub", "-fa", "-ngl", "-ts", "-ncmoe", "-nkvo"}
    workload = Workload(
        n_ctx=int(o["-c"]),
        n_seqs=int(o["-np"]) if "-np" in o else None,
        n_ubatch=int(o["-ub"]) if "-ub" in o else None,
        kv_dtype_k=o.get("-ctk"),
        kv_dtype_v=o.get("-ctv"),
        flash_attn=False if o.get("-fa") == "off" else None,
    )
    placement = Placement(
        gpus=gpus(2 if row["case"].startswith("two") else 1),
        n_gpu_layers=int(o["-ngl"]),
        tensor_split=tuple(map(float, o["-ts"].split(","))) if "-ts" in o else None,
        n_cpu_moe=int(o.get("-ncmoe", 0)),
        kv_offload="-nkvo" not in o,
    )
    return estimate(facts, workload, placement=placement)


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_weights_and_caches_of_every_device_to_the_mib(name):
    facts = facts_of(name)
    for row in MEASURED[name]:
        lines = run(row, facts).lines
        for device, truth in row["devices"].items():
            here = [line for line in lines if line.device == ("host" if device == "Host" else device)]
            weights = sum(line.nbytes for line in here if line.what == "weights")
            caches = sum(line.nbytes for line in here if line.what in {"kv_cache", "recurrent_state"})
            assert (weights // MIB, caches // MIB) == (truth["model_mib"], truth["context_mib"]), (row["case"], device)


def test_the_output_layer_is_the_last_of_those_counted():
    where = assign(Placement(gpus=gpus(1), n_gpu_layers=3), 4)
    assert where.blocks == ("host", "host", "RPC0", "RPC0")
    assert where.output == "RPC0"
    assert assign(Placement(gpus=gpus(1), n_gpu_layers=1), 4).blocks == ("host",) * 4


def test_all_layers_go_to_devices_unless_told_otherwise():
    assert set(assign(Placement(gpus=gpus(1)), 4).blocks) == {"RPC0"}
    assert set(assign(Placement(), 4).blocks) == {"host"}
    assert set(assign(Placement(n_gpu_layers=99), 4).blocks) == {"host"}


def test_a_split_is_by_share_or_else_by_capacity():
    by_share = assign(Placement(gpus=gpus(2), tensor_split=(3.0, 1.0)), 7)
    assert by_share.blocks.count("RPC0") == 6
    by_size = assign(Placement(gpus=(Gpu("a", 10 * GIB), Gpu("b", 30 * GIB))), 7)
    assert by_size.blocks.count("a") == 2


def test_the_first_override_that_matches_decides():
    placement = Placement(gpus=gpus(1), overrides=((r"ffn_down", "CPU"), (r"blk\.0\.", "RPC0")), n_gpu_layers=0)
    where = assign(placement, 2)
    assert where.weight_device("blk.0.ffn_down.weight", 0) == "host"
    assert where.weight_device("blk.0.ffn_up.weight", 0) == "RPC0"
    assert where.weight_device("blk.1.ffn_up.weight", 1) == "host"


def test_overrides_name_devices_as_llama_cpp_does():
    placement = Placement(gpus=gpus(2), overrides=((r"blk\.0\.", "CUDA1"),))
    assert assign(placement, 2).weight_device("blk.0.ffn_up.weight", 0) == "RPC1"


def test_experts_of_the_first_layers_move_to_the_host():
    where = assign(Placement(gpus=gpus(1), n_cpu_moe=1), 12)
    assert where.weight_device("blk.0.ffn_up_exps.weight", 0) == "host"
    assert where.weight_device("blk.0.ffn_up_shexp.weight", 0) == "RPC0"
    assert where.weight_device("blk.10.ffn_up_exps.weight", 10) == "RPC0"


def test_a_tied_embedding_is_a_second_copy_on_the_outputs_device():
    facts = facts_of("llama-3.2-1b")
    embedding = next(t.nbytes for t in facts.tensors if t.name == "token_embd.weight")
    on_host = estimate(facts, Workload(n_ctx=256))
    on_gpu = estimate(facts, Workload(n_ctx=256), placement=Placement(gpus=gpus(1)))
    difference = [sum(x.nbytes for x in e.lines if x.what == "weights") for e in (on_gpu, on_host)]
    assert difference[0] - difference[1] == embedding


@pytest.mark.parametrize(
    "placement",
    [
        Placement(gpus=gpus(1), tensor_split=(1.0, 1.0)),
        Placement(gpus=gpus(2), tensor_split=(-1.0, 1.0)),
        Placement(gpus=gpus(2), tensor_split=(float("nan"), 1.0)),
        Placement(gpus=gpus(1), overrides=(("(", "CPU"),)),
        Placement(gpus=gpus(1), overrides=((".", "CUDA7"),)),
    ],
)
def test_a_placement_that_cannot_be_is_refused(placement):
    with pytest.raises(WorkloadError):
        assign(placement, 4)


def test_devices_of_one_name_are_told_apart():
    assert device_names((Gpu("a", 1), Gpu("b", 1), Gpu("a", 1))) == ("a#0", "b", "a#1")


def test_a_reserve_is_not_for_models():
    line = Line("weights", 9 * GIB, "exact", "", "a")
    fits, full = (device_totals([line], (Gpu("a", 10 * GIB, reserve),)) for reserve in (GIB, 2 * GIB))
    assert [d.fits for d in fits] == [None, True]
    assert [d.fits for d in full] == [None, False]


def test_with_a_part_unknown_only_a_no_is_certain():
    line = Line("weights", 9 * GIB, "exact", "", "a")
    assert device_totals([line], (Gpu("a", 10 * GIB),), unknown=True)[1].fits is None
    assert device_totals([line], (Gpu("a", 8 * GIB),), unknown=True)[1].fits is False
