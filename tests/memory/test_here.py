"""What this machine has: from the driver's own files and library, and what is printed of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from inspector.errors import InspectorError
from inspector.memory.devices import here, machine
from inspector.memory.devices.gpus import apple_gpus, parse_gpu
from inspector.units import GIB

TINY = "gguf/tiny-llama-q8_0.gguf"
# /proc/driver/nvidia/gpus/*/information as the driver 535 writes it
INFORMATION = """Model: \t\t {name}
IRQ:   \t\t 128
GPU UUID: \t GPU-00000000-0000-0000-0000-000000000000
Video BIOS: \t 94.02.42.00.0f
Bus Type: \t PCIe
"""
# The part of nvml.h that is called: two cards of 24 GiB, 20 and 21 GB of them free.
NVML = """
#include <string.h>
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)(0x7f0000000000UL + i); return i > 1 ? 2 : 0; }
int nvmlDeviceGetMemoryInfo(void *h, nvmlMemory_t *m) {
  m->total = 25769803776ULL; m->free = 20000000000ULL + 1000000000ULL * ((unsigned long)h - 0x7f0000000000UL);
  return 0; }
int nvmlDeviceGetName(void *h, char *b, unsigned n) { strncpy(b, "NVIDIA GeForce RTX 3090", n); return 0; }
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """`driver(*names)`: the driver's files as if these cards were there."""
    monkeypatch.setattr(machine, "PROC", str(tmp_path / "gpus"))
    monkeypatch.setattr(machine, "DEVICE", str(tmp_path / "nvidiactl"))
    monkeypatch.setattr(machine, "NVML", ())
    monkeypatch.setattr(sys, "platform", "linux")

    def install(*names):
        (tmp_path / "nvidiactl").touch()
        for i, name in enumerate(names):
            folder = tmp_path / "gpus" / f"0000:{i:02x}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(INFORMATION.format(name=name), encoding="utf-8")

    return install


def test_cards_are_read_off_the_drivers_own_files(driver):
    driver("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090")
    found = here.gpus_at_once({})
    assert [g.name for g in found] == ["RTX 3090 #0", "RTX 4090", "RTX 3090 #2"]
    assert found[1] == parse_gpu("rtx4090")[0]


def test_a_machine_without_a_driver_has_no_cards(driver):
    assert here.gpus_at_once({}) == ()


def test_cards_that_are_hidden_or_not_known_are_not_spoken_of(driver):
    driver("NVIDIA GeForce RTX 3090")
    assert len(here.gpus_at_once({"CUDA_VISIBLE_DEVICES": "0"})) == 1
    assert [here.gpus_at_once({"CUDA_VISIBLE_DEVICES": hidden}) for hidden in ("", "-1")] == [(), ()]


def test_a_card_of_another_name_is_not_guessed_at(driver):
    driver("NVIDIA GeForce RTX 3090", "NVIDIA Quantum 12345")
    assert here.gpus_at_once({}) == ()


def test_a_container_without_the_device_has_no_cards(driver, tmp_path):
    driver("NVIDIA GeForce RTX 3090")
    (tmp_path / "nvidiactl").unlink()
    assert here.gpus_at_once({}) == ()


def test_the_variable_says_what_there_is_instead(driver):
    driver("NVIDIA GeForce RTX 3090")
    assert here.gpus_at_once({"INSPECTOR_GPU": "2xrtx4090"}) == parse_gpu("2xrtx4090")
    assert here.gpus_at_once({"INSPECTOR_GPU": "none"}) == ()
    for wrong in ("auto", "nosuchcard"):
        with pytest.raises(InspectorError):
            here.gpus_at_once({"INSPECTOR_GPU": wrong})


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
def test_nvml_is_asked_through_its_own_functions(tmp_path):
    (tmp_path / "nvml.c").write_text(NVML, encoding="utf-8")
    library = str(tmp_path / "libnvidia-ml.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(tmp_path / "nvml.c")], check=True)
    name = "NVIDIA GeForce RTX 3090"
    assert machine.nvml_devices(library) == [(name, 24 * GIB, 20 * 10**9), (name, 24 * GIB, 21 * 10**9)]


def test_apple_silicon_is_what_metal_lets_a_process_wire_down(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="arm64"), raising=False)
    monkeypatch.setattr(machine, "host_total", lambda: 16 * GIB)
    (gpu,) = apple_gpus()
    assert gpu.replace(name="M1 16GB", note="") == parse_gpu("M1 16GB")[0].replace(note="")


def test_no_library_is_no_card(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    assert machine.nvml_devices(str(tmp_path / "libnvidia-ml.so.1")) == []
    assert machine.nvml_devices(str(tmp_path / "nowhere.so")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="compared with /proc/meminfo")
def test_the_machines_memory_is_what_the_kernel_says():
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":") for line in file)}
    assert machine.host_total() == fields["MemTotal"]
    assert 0 < machine.host_available() <= fields["MemTotal"]


def test_a_look_at_a_file_says_in_a_line_what_it_would_take_here(sparse_model, run_inspector):
    model = sparse_model("llama-3-8b")
    plain = run_inspector([model])[1].splitlines()

    def last(gpu):
        code, out, err = run_inspector([model], env={"INSPECTOR_GPU": gpu, "COLUMNS": "120"})
        assert (code, err) == (0, "")
        assert len(out.splitlines()) == len(plain) + 2
        return out.splitlines()[-1]

    asked = json.loads(run_inspector(["memory", model, "--gpu", "rtx3090", "--json"])[1])
    (card,) = (d for d in asked["devices"] if d["capacity"])
    used = f"{card['used'] / GIB:.2f} GiB"
    assert last("rtx3090") == f"  here          fits RTX 3090 at 8,192 tokens: {used} of 23.69 GiB usable"
    assert "  here          does not fit GTX 1650 at 8,192 tokens: " in last("GTX 1650")
    assert "fits 2 × RTX 4090 at" in last("2xrtx4090")


def test_json_does_not_depend_on_the_machine(files, run_inspector):
    words = ["show", files / TINY, "--json"]
    assert run_inspector(words, env={"INSPECTOR_GPU": "rtx4090"}) == run_inspector(words)


def test_what_no_rule_answers_for_has_no_line(files, run_inspector):
    projector = files / "gguf/mmproj-tiny-f16.gguf"
    assert run_inspector([projector], env={"INSPECTOR_GPU": "rtx4090"}) == run_inspector([projector])
    assert run_inspector([files / TINY], env={"INSPECTOR_GPU": "nosuchcard"}) == run_inspector([files / TINY])


def test_fit_without_a_gpu_uses_what_this_machine_has(sparse_model, run_inspector):
    model = sparse_model("llama-3.1-70b")
    here_, named = ({"INSPECTOR_GPU": "rtx3090"}, ["--gpu", "rtx3090"])
    ours = json.loads(run_inspector(["fit", model, "--json", "--host", "512GiB"], env=here_)[1])
    theirs = json.loads(run_inspector(["fit", model, "--json", "--host", "512GiB", *named])[1])
    assert len(ours["choices"]) > 0
    assert [c["lines"] for c in ours["choices"]] == [c["lines"] for c in theirs["choices"]]
    assert ours["gpus"] == theirs["gpus"]


@pytest.mark.skipif(sys.platform != "linux", reason="compared with /proc/meminfo")
def test_and_no_more_of_its_memory_than_is_free(files, run_inspector):
    def notes(*words):
        out = run_inspector(["fit", files / TINY, "--json", *words], env={"INSPECTOR_GPU": "rtx3090"})[1]
        return [note for note in json.loads(out)["notes"] if "host memory" in note]

    assert len(notes()) == 1
    assert notes()[0].endswith(" GiB (--host)")
    assert not notes("--host", "64GiB")
    assert not notes("--gpu", "rtx3090")


def test_fit_where_there_is_no_gpu_asks_for_one(files, run_inspector):
    code, out, err = run_inspector(["fit", files / TINY])
    assert (code, out) == (2, "")
    assert err.startswith("error: no GPU was found on this machine\nhint: name one (--gpu rtx4090)")
