from __future__ import annotations

import pytest

from inspector.errors import WorkloadError
from inspector.memory.engines.shared.serving import sglang_pool, sglang_reserve, tensorrt_pool
from inspector.units import GIB, MIB


def test_sglang_reserves_by_the_formula_of_its_server_arguments():
    small = sglang_reserve(24 * GIB, chunked_prefill=2048, cuda_graph_max_bs=8)
    assert small == (512 + 2048 * 3 // 2 + 16 + 128) * MIB
    assert sglang_reserve(24 * GIB, chunked_prefill=512, cuda_graph_max_bs=8) == small
    assert sglang_reserve(80 * GIB, chunked_prefill=2048, cuda_graph_max_bs=8) == 10 * GIB
    assert sglang_reserve(24 * GIB, chunked_prefill=2048, cuda_graph_max_bs=8, speculative="EAGLE") == small + 2 * GIB


def test_sglangs_pool_is_the_static_fraction_less_weights():
    pool = sglang_pool(100 * GIB, 15 * GIB, 131072, mem_fraction_static=0.75)
    assert pool.nbytes == 60 * GIB
    assert pool.n_tokens == 60 * GIB // 131072
    picked = sglang_pool(100 * GIB, 0, 1, reserve=10 * GIB)
    assert picked.nbytes == 90 * GIB
    assert sglang_pool(10 * GIB, 11 * GIB, 1).n_tokens == 0


def test_tensorrts_pool_is_a_fraction_of_what_is_left():
    pool = tensorrt_pool(80 * GIB, 30 * GIB, 131072)
    assert pool.nbytes == 45 * GIB
    capped = tensorrt_pool(80 * GIB, 30 * GIB, 131072, max_tokens=1000)
    assert (capped.n_tokens, capped.nbytes) == (1000, 131072000)
    assert tensorrt_pool(8 * GIB, 9 * GIB, 10).nbytes == 0


def test_fractions_that_mean_nothing_are_refused():
    for wrong in (0.0, 1.0, -1.0):
        with pytest.raises(WorkloadError):
            sglang_pool(GIB, 0, 1, mem_fraction_static=wrong)
    with pytest.raises(WorkloadError):
        tensorrt_pool(GIB, 0, 1, free_gpu_memory_fraction=1.1)
    with pytest.raises(WorkloadError):
        tensorrt_pool(GIB, 0, 0)
