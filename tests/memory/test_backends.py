"""What back ends decide: llama.cpp's own CUDA host code on 584 settings, and the policies one at a time."""

from __future__ import annotations

import pytest
from cuda_rows import facts_of, ours, rows_by_model, theirs

from inspector.errors import WorkloadError
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.engines.llamacpp.backends import BACKENDS, Backend, backend, backend_of_device, policies
from inspector.memory.engines.llamacpp.backends.cuda import flash_nbytes, flash_runs
from inspector.memory.engines.llamacpp.graph.ops import Ops
from inspector.memory.engines.llamacpp.graph.sched import place, sizes
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, nbytes
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB, MIB

Q8_0 = (32, 34, "q8_0")


MEASURED = rows_by_model("cuda.jsonl.gz")


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_cuda_allocates_what_is_said_on_every_device_to_the_byte(name):
    facts = facts_of(name)
    for row in MEASURED[name]:
        assert ours(row, facts) == theirs(row), row["case"]


def on(name, facts, **changes):
    """Bytes of compute buffers by device, a third of the layers on one device of that back end."""
    placement = Placement(gpus=(Gpu("g", 24 * GIB, backend=name),), n_gpu_layers=6, **changes)
    result = estimate(facts, Workload(n_ctx=8192), placement=placement)
    assert result.workload.backend == name
    return {line.device: line.nbytes for line in result.lines if line.what == "compute"}, result


def test_work_over_weights_on_the_host_is_taken_over_unless_told_not_to():
    facts = facts_of("llama-3.2-1b")
    taken, _ = on("cuda", facts)
    left, _ = on("cuda", facts, op_offload=False)
    assert taken["g"] > left["g"]
    assert taken["host"] < left["host"]


def test_rpc_takes_nothing_over():
    facts = facts_of("llama-3.2-1b")
    assert on("rpc", facts)[0] == on("rpc", facts, op_offload=False)[0]


@pytest.mark.parametrize("name", sorted(set(BACKENDS) - {"cpu"}))
def test_figures_that_no_measurement_holds_are_graded_modelled(name):
    _, result = on(name, facts_of("llama-3.2-1b"))
    grades = {line.grade for line in result.lines if line.what == "compute"}
    assert grades == ({"derived"} if BACKENDS[name].measured else {"modelled"})


def test_every_option_of_a_back_end_is_set_by_some_row_to_more_than_its_default():
    plain = Backend("plain", 1)
    unset = [f for f in Backend._defaults if all(getattr(b, f) == getattr(plain, f) for b in BACKENDS.values())]
    assert unset == []


def test_a_device_is_known_by_what_its_name_begins_with():
    names = {"CUDA0": "cuda", "ROCm1": "rocm", "MTL0": "metal", "Metal": "metal", "Vulkan0": "vulkan", "SYCL0": "sycl"}
    assert {name: backend_of_device(name) for name in names} == names
    assert backend_of_device("RPC[10.0.0.1:50052]") == "rpc"
    assert backend_of_device("Tesla") == "cuda"  # a card's own name: what most of them are


def test_a_back_end_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(WorkloadError, match="no back end 'abacus'") as caught:
        backend("abacus")
    assert "cuda" in caught.value.hint


def test_rows_of_quantised_tensors_are_filled_up_to_512_elements_on_cuda():
    cuda, cpu = BACKENDS["cuda"], BACKENDS["cpu"]
    assert cuda.allocated(34, 32, (32, 34)) == 34 + 15 * 34 + (-(34 * 16) % 128)
    assert cuda.allocated(512 * 34 // 32, 512, (32, 34)) == 640
    assert cuda.allocated(100, 25, (1, 4)) == 128
    assert cpu.allocated(34, 32, (32, 34)) == 64


def attention(elem, head=128, cells=512, heads=32, heads_kv=8):
    g = Ops()
    q = g.leaf(F32, head, 512, heads)
    k, v = g.leaf(elem, head, cells, heads_kv), g.leaf(elem, head, cells, heads_kv)
    return g.flash_attn(q, k, v, g.leaf(F16, cells, 512))


def test_flash_attention_carries_f16_copies_of_caches_of_other_types():
    plain, quantised = attention(F16), attention(Q8_0)
    assert flash_nbytes(plain) == nbytes(plain)
    assert flash_nbytes(quantised) == nbytes(plain) + 2 * 2 * 128 * 512 * 8


@pytest.mark.parametrize(("head", "there"), [(32, False), (64, True), (100, False), (128, True), (256, True)])
def test_flash_attention_needs_a_kernel_for_the_head_size(head, there):
    assert flash_runs(attention(F16, head)) == there


def test_an_operation_without_a_kernel_runs_on_the_host():
    node = attention(F16, 100)
    after = Ops().scale(node)
    place([], [node, after], policies(("cuda",)), op_offload=True)
    assert node.buf == 1


def test_batches_of_fewer_than_32_tokens_stay_with_their_weights():
    def device(tokens):
        g = Ops()
        w = g.leaf(F32, 64, 64)
        w.external = w.weight = w.seen = True
        w.buf = 1
        node = g.expand(g.mm(w, g.input(F32, 64, tokens)))
        place(g.leafs, g.nodes, policies(("cuda",)), op_offload=True)
        return node.buf

    assert (device(31), device(32)) == (1, 0)


def test_a_weight_that_is_taken_over_is_copied_into_the_compute_buffer():
    g = Ops()
    w = g.leaf(F32, 64, 64)
    w.external = w.weight = w.seen = True
    w.buf = 1
    g.expand(g.mm(w, g.input(F32, 64, 32)))
    device, host = sizes(g.leafs, g.nodes, policies(("cuda",)), pipeline=False)
    assert device == 4 * (64 * 64 + 64 * 32 + 64 * 32)
    assert host == 4 * 64 * 32


def test_an_override_knows_a_tied_output_by_the_embeddings_name():
    """Measured: two cards, `-ot token_embd=CUDA0`; the output lies where its copy was put."""
    facts = facts_of("llama-3.2-1b")
    cards = tuple(Gpu(f"CUDA{i}", 24 * 1024 * MIB, backend="cuda") for i in range(2))

    def compute(pattern, device):
        placement = Placement(gpus=cards, overrides=((pattern, device),))
        lines = estimate(facts, Workload(n_ctx=8192), placement=placement).lines
        return [line.nbytes for line in lines if line.what == "compute" and line.device != "host"]

    assert [round(n / MIB, 2) for n in compute("token_embd", "CUDA0")] == [274.52, 64.01]
