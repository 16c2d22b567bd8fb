from __future__ import annotations

import pytest

from inspector.errors import InspectorError
from inspector.memory.devices import gpus
from inspector.memory.devices.gpus import GPUS, find_gpu, is_shop_gpu, normalise, parse_gpu, parse_smi
from inspector.units import GIB, MIB


def test_every_spelling_leads_to_exactly_one_row():
    owners: dict[str, str] = {}
    for name, row in GPUS.items():
        for spelling in (name, *row.aliases):
            assert owners.setdefault(normalise(spelling), name) == name, spelling


def test_every_row_says_where_its_figure_comes_from():
    for row in GPUS.values():
        assert row.source
        assert row.total_mib >= 2048
        assert row.cuda_mib is None or 0.95 < row.cuda_mib / row.total_mib <= 1
        assert row.vendor in {"NVIDIA", "AMD", "Intel", "Apple"}


@pytest.mark.parametrize(
    "text",
    ["rtx4090", "RTX 4090", "4090", "NVIDIA GeForce RTX 4090", "rtx-4090", "geforce_rtx_4090"],
)
def test_one_card_has_many_spellings(text: str):
    (gpu,) = parse_gpu(text)
    assert gpu.name == "RTX 4090"
    assert gpu.capacity == 24_564 * MIB  # nvidia-smi


@pytest.mark.parametrize(
    ("text", "name", "mib"),
    [
        ("a100-80gb", "A100-80GB", 81920),
        ("A100-SXM4-80GB", "A100-80GB", 81920),
        ("A100-SXM4-40GB", "A100-40GB", 40960),
        ("h100", "H100", 81559),
        ("NVIDIA H100 80GB HBM3", "H100", 81559),
        ("Tesla T4", "T4", 15360),
        ("Tesla V100-SXM2-32GB", "V100-32GB", 32768),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 49140),
        ("AMD Radeon RX 7900 XTX", "RX 7900 XTX", 24576),
        ("7900xtx", "RX 7900 XTX", 24576),
        ("Apple M3 Max 128GB", "M3 Max 128GB", 98304),
    ],
)
def test_names_as_drivers_and_people_write_them(text: str, name: str, mib: int):
    (gpu,) = parse_gpu(text)
    assert (gpu.name, gpu.capacity) == (name, mib * MIB)


@pytest.mark.parametrize("text", ["2xrtx3090", "2 x RTX 3090", "2*3090", "2×rtx3090"])
def test_a_count_gives_that_many_devices_with_names_of_their_own(text: str):
    pair = parse_gpu(text)
    assert [g.name for g in pair] == ["RTX 3090 #0", "RTX 3090 #1"]
    assert pair[0].capacity == 24_576 * MIB


def test_a_size_is_a_device_of_so_many_bytes():
    assert parse_gpu("24GiB")[0].capacity == 24 * GIB
    for text in ("24GB", "24G", "24 gb", "24 GB card", "24GB of VRAM", "24g gpu"):
        assert parse_gpu(text)[0] == parse_gpu("24GiB")[0]
        assert is_shop_gpu(text)
    assert not any(map(is_shop_gpu, ("24GiB", "rtx4090", "A100-80GB", "M4 Max 36GB", "2x24GiB", "auto", "25769803776")))
    assert len(parse_gpu("2x 24 GB cards")) == 2
    assert parse_gpu("25769803776")[0].capacity == 24 * GIB
    assert len(parse_gpu("4x80GiB")) == 4


@pytest.mark.parametrize(
    "text", ["24X", "card", "0GiB", "", "0xrtx3090", "99999xrtx3090", "gpu\n", "24 bananas", "²GiB"]
)
def test_what_is_not_a_gpu_is_one_line_of_error(text: str):
    with pytest.raises(InspectorError) as failure:
        parse_gpu(text)
    assert "\n" not in str(failure.value)


def test_a_typing_slip_gets_the_nearest_names():
    with pytest.raises(InspectorError) as failure:
        find_gpu("rtx4099")
    assert "RTX 4090" in (failure.value.hint or "")
    with pytest.raises(InspectorError) as failure:
        find_gpu("a100-60gb")
    assert "A100-80GB" in (failure.value.hint or "")


def test_nvidia_smi_lines_are_read_and_noise_is_not():
    text = "NVIDIA GeForce RTX 4090, 24564, 20000\nOdd, name, 8192, 8000\nFailed to initialize NVML\nX, [N/A], 5\n"
    assert parse_smi(text) == [
        ("NVIDIA GeForce RTX 4090", 24564 * MIB, 20000 * MIB),
        ("Odd, name", 8192 * MIB, 8000 * MIB),
    ]


def test_auto_without_any_gpu_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INSPECTOR_GPU", "none")
    with pytest.raises(InspectorError) as failure:
        parse_gpu("auto")
    assert "--gpu" in (failure.value.hint or "")


def test_what_cuda_hides_is_reserved():
    assert parse_gpu("rtx4090")[0].reserve == (24_564 - 24_207) * MIB
    assert parse_gpu("rtx3090")[0].reserve == (24_576 - 24_259) * MIB
    assert parse_gpu("GB10")[0].reserve == 0  # its row is what CUDA says


@pytest.mark.parametrize(
    ("size", "name"),
    [("24GiB", "rtx3090"), ("24564MiB", "rtx4090"), ("15360MiB", "T4"), ("80GiB", "a100-80gb"), ("8GiB", "rtx3070")],
)
def test_a_size_reserves_what_a_card_of_that_size_does(size: str, name: str):
    by_size, by_name = parse_gpu(size)[0], parse_gpu(name)[0]
    assert (by_size.capacity, by_size.reserve, by_size.context) == (by_name.capacity, by_name.reserve, by_name.context)
    assert by_size.reserve > 0 < by_size.context


# total less free of idle cards, MiB, as start-up logs of llama.cpp print them
@pytest.mark.parametrize(
    ("name", "seen"),
    [("rtx3060", 113), ("rtx4060ti 16gb", 134), ("rtx5060ti 16gb", 211), ("v100", 311), ("rtx3090", 264),
     ("rtx4090", 472), ("rtx6000 ada", 426), ("rtx pro 6000", 621), ("gtx1650", 123), ("gtx1080", 174)],
)  # fmt: skip
def test_a_context_is_no_less_than_logs_say_of_the_card(name: str, seen: int):
    assert seen * MIB <= parse_gpu(name)[0].context <= 700 * MIB


def test_only_cuda_has_a_context_of_its_own_and_an_rpc_server_offers_what_it_says():
    assert parse_gpu("rx7900xtx")[0].context == 0
    (size,), (card,) = parse_gpu("24GiB"), parse_gpu("rtx3090")
    assert gpus.under(size, "cuda") == size
    assert (gpus.under(size, "rpc").reserve, gpus.under(size, "rpc").context) == (0, 0)
    for backend in ("rpc", "vulkan"):
        other = gpus.under(card, backend)
        assert (other.backend, other.reserve, other.context) == (backend, card.reserve + card.context, 0)


def test_apple_machines_keep_part_of_their_memory():
    assert parse_gpu("M1 16GB")[0].capacity == 16 * GIB * 2 // 3 // MIB * MIB
    assert gpus.apple_working_set(64 * GIB) == 48 * GIB


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [("M4 Max 36GB", 28_991), ("M4 Max 128GB", 115_448), ("M3 Max 64GB", 55_662), ("M1 Pro 16GB", 11_453)],
)
def test_apple_machines_say_what_llamacpp_logs_on_them(text: str, megabytes: int):
    (gpu,) = parse_gpu(text)
    assert 0 <= megabytes * 10**6 - gpu.capacity < MIB
    assert GPUS[gpu.name].reported


def test_a_bare_apple_rule_never_promises_more_than_a_log():
    for row in GPUS.values():
        if row.vendor == "Apple" and row.reported:
            gib = int(row.name.rpartition(" ")[2].removesuffix("GB"))
            assert gpus.apple_working_set(gib * GIB) <= row.capacity + MIB


@pytest.mark.parametrize(
    ("text", "capability"),
    [
        ("gtx1080ti", "6.1"), ("p100", "6.0"), ("v100", "7.0"), ("t4", "7.5"), ("gtx1660", "7.5"), ("a100", "8.0"),
        ("rtx3090", "8.6"), ("orin nano", "8.7"), ("rtx4090", "8.9"), ("rtx 6000 ada", "8.9"), ("h100", "9.0"),
        ("b200", "10.0"), ("b300", "10.3"), ("rtx5090", "12.0"), ("rtx pro 6000", "12.0"), ("dgx spark", "12.1"),
        ("7900xtx", ""), ("M4 Max 36GB", ""),
    ],
)  # fmt: skip
def test_cards_have_nvidias_published_compute_capability(text: str, capability: str):
    assert parse_gpu(text)[0].compute_capability == capability


def test_every_row_names_its_back_end():
    expected = {"NVIDIA": {"cuda"}, "AMD": {"rocm"}, "Apple": {"metal"}, "Intel": {"vulkan", "sycl", "hpu"}}
    for row in GPUS.values():
        assert row.backend in expected[row.vendor]
        assert bool(row.compute_capability) == (row.vendor == "NVIDIA")


def test_a_size_by_hand_is_a_cuda_card_with_memory_of_its_own():
    (gpu,) = parse_gpu("24GiB")
    assert (gpu.backend, gpu.unified) == ("cuda", False)


def test_unified_memory_is_said_where_device_and_host_are_one_pool():
    unified = {row.name for row in GPUS.values() if row.unified and row.vendor != "Apple"}
    assert unified == {
        "GB10", "Jetson AGX Orin 64GB", "Jetson Orin NX 16GB", "Jetson Orin Nano 8GB", "MI300A",
        "Ryzen AI Max+ 395 96GB",
    }  # fmt: skip
    assert all(row.unified for row in GPUS.values() if row.vendor == "Apple")


def test_an_mi250_is_two_devices_of_64_gib():
    assert [g.capacity for g in parse_gpu("MI250")] == [64 * GIB] * 2
    assert len(parse_gpu("2xMI250X")) == 4


def test_usable_memory_is_what_the_driver_says_not_the_box():
    assert parse_gpu("GB10")[0].capacity == 124_610 * MIB  # 121.69 GiB
    assert parse_gpu("B300")[0].capacity == 275_040 * MIB


def test_the_registry_can_be_browsed():
    rows = {row["name"]: row for row in gpus.gpu_rows()}
    assert len(rows) == len(GPUS) >= 150
    assert rows["RTX 4090"]["nbytes"] == 24_564 * MIB
    assert rows["RTX 4090"]["reported"] is True
    assert rows["RX 7900 XTX"]["reported"] is False


@pytest.mark.parametrize(
    ("text", "mib", "count"),
    [("GB10", 124_610, 1), ("B300", 275_040, 1), ("MI250", 65_536, 2), ("M5 Max 128GB", None, 1),
     ("M5 Pro 24GB", None, 1)],
)  # fmt: skip
def test_sizes_that_vendors_state_otherwise(text: str, mib: int | None, count: int):
    found = parse_gpu(text)
    assert len(found) == count
    assert mib is None or found[0].capacity == mib * MIB
    assert mib != 124_610 or round(found[0].capacity / GIB, 2) == 121.69  # as CUDA prints it


def test_memory_that_is_the_hosts_is_said_to_be_so():
    shared = {name for name, row in GPUS.items() if row.unified}
    assert {row.name for row in GPUS.values() if row.vendor == "Apple"} <= shared
    assert {"GB10", "Jetson AGX Orin 64GB", "Ryzen AI Max+ 395 96GB"} <= shared
    assert not any(name.startswith(("RTX", "H100", "RX")) for name in shared)
