"""Start-up logs as llama.cpp and vLLM print them, cut down to what is read."""

from __future__ import annotations

import pytest
from startup_logs import NEW, OLD, VLLM

from inspector.errors import InspectorError
from inspector.logs import read_startup_log
from inspector.units import GIB, MIB


def _sizes(text: str) -> dict[tuple[str, str], float]:
    return {(b.what, b.device): b.nbytes / MIB for b in read_startup_log(text).buffers}


def test_every_buffer_of_a_server_is_read():
    assert _sizes(NEW) == pytest.approx(
        {
            ("weights", "CPU_Mapped"): 140.91, ("weights", "CUDA0"): 698.23, ("output", "CUDA_Host"): 1.96,
            ("kv_cache", "CUDA0"): 256.0, ("compute", "CUDA0"): 72.01, ("compute", "CUDA_Host"): 24.02,
        },
        abs=1e-6,
    )  # fmt: skip


def test_settings_build_and_devices_are_the_logs_own():
    log = read_startup_log(NEW)
    assert (log.engine, log.build, log.model) == ("llama.cpp", "b11434 (abc1234)", "m/llama-3.2-1b.gguf")
    assert log.settings == {
        "server": True, "offloaded": 17, "offloadable": 17, "n_seq_max": 4, "n_ctx": 8192, "n_batch": 2048,
        "n_ubatch": 512, "flash_attn": "auto", "kv_unified": True, "n_outputs_max": 4, "type_k": "f16", "type_v": "f16",
    }  # fmt: skip
    (device,) = log.devices
    assert (device.name, device.total, device.free) == ("CUDA0", 24_576 * MIB, 24_000 * MIB)


def test_lines_of_builds_from_2024_are_read():
    log = read_startup_log(OLD)
    assert log.build == "b4321 (deadbee)"
    assert log.settings == {"offloaded": 33, "offloadable": 33, "n_seq_max": 1, "n_ctx": 2048, "flash_attn": 0}
    assert _sizes(OLD)["weights", "CUDA0"] == pytest.approx(4685.67)
    assert _sizes(OLD)["kv_cache", "CUDA0"] == 640


def test_two_caches_on_a_device_add_up_and_a_second_reservation_replaces_the_first():
    text = NEW + (
        "I llama_kv_cache:      CUDA0 KV buffer size =    16.00 MiB\n"
        "I sched_reserve:      CUDA0 compute buffer size =    80.00 MiB\n"
    )
    assert _sizes(text)["kv_cache", "CUDA0"] == 272
    assert _sizes(text)["compute", "CUDA0"] == 80


def test_a_draft_model_after_the_target_is_not_mixed_with_it():
    draft = NEW.replace("m/llama-3.2-1b.gguf (version", "m/draft.gguf (version").replace("256.00", "999.00")
    log = read_startup_log(NEW + draft)
    assert {(b.what, b.device): b.nbytes for b in log.buffers}["kv_cache", "CUDA0"] == 256 * MIB
    assert log.notes == ("m/draft.gguf is in the log too, and not compared",)


def test_a_second_context_is_said_and_not_added():
    second = "".join(f"{line}\n" for line in NEW.splitlines() if "llama_context: " in line or "KV buffer" in line)
    log = read_startup_log(NEW + second)
    assert {(b.what, b.device): b.nbytes for b in log.buffers}["kv_cache", "CUDA0"] == 256 * MIB
    assert log.notes == ("2 contexts were made; the first is compared",)


def test_a_dry_run_before_the_load_does_not_count():
    dry = "".join(
        f"{line}\n" for line in NEW.replace("72.01", "1.00").splitlines() if "loaded meta" in line or "compute" in line
    )
    assert _sizes(dry + NEW)["compute", "CUDA0"] == pytest.approx(72.01)


def test_experts_of_the_first_layers_on_the_host_are_counted():
    moved = "".join(
        f"tensor blk.{i}.ffn_{part}_exps.weight (264 MiB q4_K) buffer type overridden to CPU\n"
        for i in range(3)
        for part in ("up", "gate", "down")
    )
    assert read_startup_log(moved + NEW).settings["n_cpu_moe"] == 3
    assert "n_cpu_moe" not in read_startup_log(moved.replace("blk.0.", "blk.7.") + NEW).settings


def test_vllm_says_one_rank_and_one_request():
    log = read_startup_log(VLLM)
    assert (log.engine, log.build, log.model, len(log.devices)) == ("vllm", "0.11.0", "org/name", 2)
    sizes = {b.what: b.nbytes for b in log.buffers}
    assert sizes["weights"] == pytest.approx(14.9888 * GIB)
    assert sizes["kv_cache"] == GIB  # the pool holds eight requests
    assert sizes["overhead"] == pytest.approx(0.54 * GIB)
    assert log.settings["max_num_batched_tokens"] == 2048


def test_printed_digits_say_how_exact_a_figure_is():
    steps = {b.what: b.precision for b in read_startup_log(NEW).buffers}
    assert steps["compute"] == MIB // 100


@pytest.mark.parametrize(
    "text", ["", "hello\n" * 100, "buffer size = MiB\n", "\x00" * 5000, "a" * 100_000, "CUDA0 buffer size = 9e9 MiB"]
)  # fmt: skip
def test_a_text_without_buffers_is_one_line_of_error(text: str):
    with pytest.raises(InspectorError) as failure:
        read_startup_log(text)
    assert "\n" not in str(failure.value)


def test_logs_are_bounded():
    with pytest.raises(InspectorError, match="lines"):
        read_startup_log("\n" * 500_000)
    with pytest.raises(InspectorError, match="MiB"):
        read_startup_log("x" * (33 << 20))


@pytest.mark.parametrize("word", ["a: ", "CUDA0 model ", "x" * 4000, "build: b", "- a : ("])
def test_hostile_lines_take_no_time(word: str):
    import time

    started = time.perf_counter()
    read_startup_log((word * 2000)[:100_000] + " buffer size = MiB free loaded meta data\n" + NEW)
    assert time.perf_counter() - started < 2
