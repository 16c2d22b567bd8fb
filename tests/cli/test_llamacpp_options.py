"""llama.cpp's own options, as people type them, through the command line. (common/arg.cpp of b11434)"""

from __future__ import annotations

import json

import pytest
from schemas import check

from inspector.cli.group import run_command_line

TWO = ("--gpu", "24GiB", "--gpu", "12GiB")


@pytest.fixture
def ask(capsys, sparse_model):
    """`ask(name, *words) -> (exit code, the JSON answer, stderr)` of `inspector memory`."""

    def call(name, *words, command="memory"):
        code = run_command_line([command, str(sparse_model(name)), *words, "--json"])
        out, err = capsys.readouterr()
        return code, check(json.loads(out)) if out else None, err

    return call


def held(answer):
    return {d["device"]: d["used"] for d in answer["devices"]}


def lines_of(answer):
    return {(x["what"], x["device"], x.get("label", "")): x["nbytes"] for x in answer["lines"]}


@pytest.mark.parametrize("mode", [["-sm", "none", "-mg", "1"], ["-dev", "CUDA1"]])
def test_one_gpu_of_several_holds_all(ask, mode):
    _, alone, _ = ask("llama-3.2-1b", "-c", "4096", "--gpu", "12GiB")
    _, chosen, _ = ask("llama-3.2-1b", "-c", "4096", *TWO, *mode)
    assert lines_of(chosen) == lines_of(alone)


@pytest.mark.parametrize("mode", [["-sm", "none", "-mg", "-1"], ["-dev", "none"]])
def test_no_gpu_is_the_cpu(ask, mode):
    _, cpu, _ = ask("llama-3.2-1b", "-c", "4096")
    _, none, _ = ask("llama-3.2-1b", "-c", "4096", *TWO, *mode)
    assert lines_of(none) == lines_of(cpu)


def test_shares_follow_the_order_of_the_devices(ask):
    _, there, _ = ask("llama-3.2-1b", "-c", "4096", *TWO, "-ts", "3,1", "-dev", "CUDA1,CUDA0")
    _, back, _ = ask("llama-3.2-1b", "-c", "4096", "--gpu", "12GiB", "--gpu", "24GiB", "-ts", "3,1")
    assert held(there) == held(back)
    caches = {x["device"]: x["nbytes"] for x in there["lines"] if x["what"] == "kv_cache"}
    assert caches["12.00 GiB"] > caches["24.00 GiB"]


@pytest.mark.parametrize("words", [["-ngl", "all"], ["-ngl", "auto"], ["-ngl", "-1"], ["-ngl", "99"], ["-sm", "layer"]])
def test_all_layers_may_be_said_in_several_ways(ask, words):
    _, default, _ = ask("llama-3.2-1b", "-c", "4096", "--gpu", "24GiB")
    assert lines_of(ask("llama-3.2-1b", "-c", "4096", "--gpu", "24GiB", *words)[1]) == lines_of(default)


def test_all_experts_on_the_host_are_those_of_every_layer(ask):
    words = ("mixtral-8x7b", "-c", "4096", "--gpu", "24GiB")
    _, by_count, _ = ask(*words, "-ncmoe", "32")
    _, by_pattern, _ = ask(*words, "-ot", r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU")
    for flag in ("-cmoe", "--cpu-moe"):
        assert lines_of(ask(*words, flag)[1]) == lines_of(by_count) == lines_of(by_pattern)


def test_overrides_are_cut_at_commas(ask):
    words = ("llama-3.2-1b", "-c", "4096", *TWO)
    _, one, _ = ask(*words, "-ot", "ffn_up=CPU,ffn_down=CUDA1")
    _, two, _ = ask(*words, "-ot", "ffn_up=CPU", "-ot", "ffn_down=CUDA1")
    assert lines_of(one) == lines_of(two)


def test_a_pattern_that_matches_no_tensor_is_said(ask):
    _, answer, _ = ask("llama-3.2-1b", "-c", "4096", "--gpu", "24GiB", "-ot", "ffn_up=CPU,experts=CPU")
    said = [n for n in answer["notes"] if "-ot" in n]
    assert said == ["-ot experts=CPU: no tensor of this model has such a name"]
    _, answer, _ = ask("llama-3.2-1b", "-c", "4096", "--gpu", "24GiB", "-ncmoe", "3")
    assert "experts on the host: this model has none" in answer["notes"]


def test_parallel_of_minus_one_is_the_programs_default(ask):
    words = ("llama-3.2-1b", "-c", "8192", "--server")
    assert ask(*words, "-np", "-1")[1]["effective"] == ask(*words)[1]["effective"]
    assert ask(*words)[1]["effective"]["n_seqs"] == 4


def test_short_names_of_switches(ask):
    words = ("llama-3.2-1b", "-c", "8192", "-np", "2", "--gpu", "24GiB")
    assert ask(*words, "-kvu")[1]["effective"]["kv_unified"] is True
    assert ask(*words, "-no-kvu")[1]["effective"]["kv_unified"] is False
    _, answer, _ = ask(*words, "-nkvo")
    assert {x["device"] for x in answer["lines"] if x["what"] == "kv_cache"} == {"host"}


def test_load_modes_change_no_size_and_what_is_gone_is_said(ask):
    words = ("llama-3.2-1b", "-c", "4096", "--gpu", "24GiB")
    _, default, err = ask(*words)
    assert not err
    for mode in ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"):
        assert lines_of(ask(*words, "--load-mode", mode)[1]) == lines_of(default)
    code, answer, err = ask(*words, "--no-mmap")
    assert (code, lines_of(answer)) == (0, lines_of(default))
    assert err == "note: llama.cpp b11434 has no --no-mmap any more: type --load-mode none\n"
    assert ask(*words, "--no-mmap", "--load-mode", "mmap")[0] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-sm", "row"], "no buffers split by rows"),
        (["-sm", "tensor"], "not known here"),
        (["-sm", "none", "-mg", "2"], "no main GPU 2"),
        (["-dev", "CUDA2"], "no device 'CUDA2'"),
        (["-dev", "CPU"], "no device to offload to"),
        (["-dev", "CUDA0,CUDA0"], "the same device twice"),
        (["-dev", "CUDA0", "-ot", "ffn=CUDA1"], "not in use"),
        (["-ngl", "most"], "a number of layers, all or auto"),
        (["-np", "0"], "1 or more"),
        (["-np", "few"], "a number of sequences"),
        (["-ot", "ffn=CPU,"], "PATTERN=DEVICE"),
    ],
)
def test_what_cannot_be_is_one_line(ask, words, said):
    code, answer, err = ask("llama-3.2-1b", "-c", "4096", *TWO, *words)
    assert (code, answer) == (2, None)
    assert err.startswith("error: ")
    assert said in err


def test_a_split_over_unlike_cards_says_which_it_means(ask):
    _, answer, _ = ask("llama-3-8b", "--gpu", "rtx3060", "--gpu", "6GiB", "-c", "65536", command="fit")
    (note,) = [n for n in answer["notes"] if "-ts" in n]
    assert "RTX 3060, 6.00 GiB" in note
    assert "-dev" in note
    _, answer, _ = ask("llama-3-8b", "--gpu", "2xrtx3060", "-c", "65536", command="fit")
    assert not [n for n in answer["notes"] if "-ts" in n]


def test_fit_takes_all_layers_and_all_experts_by_their_names(ask):
    words = ("mixtral-8x7b", "--gpu", "16GiB", "-c", "8192")
    _, answer, _ = ask(*words, "-cmoe", "-ngl", "all", command="fit")
    assert {c["n_cpu_moe"] for c in answer["choices"]} == {32}
    assert {c["n_gpu_layers"] for c in answer["choices"]} == {33}
    by_number = ask(*words, "-ncmoe", "32", "-ngl", "33", command="fit")[1]
    assert answer["choices"] == by_number["choices"]
    assert ask(*words, "-ngl", "auto", command="fit")[1]["choices"] == ask(*words, command="fit")[1]["choices"]


@pytest.mark.parametrize("gpu", [[], ["--gpu", "24GiB"], ["--gpu", "24GiB", "-ngl", "9"], ["--gpu", "24GiB", "-nkvo"]])
def test_layers_add_up_to_the_cache_where_it_lies(ask, gpu):
    """Rows of 256 quantised elements are filled up to 512 in CUDA's memory (ggml-cuda.cu, get_alloc_size)."""
    words = ["-c", "4096", "-ctk", "q8_0", "-ctv", "q8_0", "--layers", *gpu]
    code, answer, _ = ask("gemma-3-1b", *words)
    assert code == 0
    cache = sum(x["nbytes"] for x in answer["lines"] if x["what"] == "kv_cache")
    assert sum(row["nbytes"] for row in answer["layers"]) == cache


@pytest.mark.parametrize(
    ("gpus", "unlike"),
    [(["rtx3060", "rtx3060ti"], True), (["a5000", "rtx3090ti"], True), (["24GiB", "12GiB"], True),
     (["2xrtx3060"], False), (["rtx3060", "rtx3060"], False), (["2x12GiB"], False), (["m1 16GB", "m1 8gb"], False)],
)  # fmt: skip
def test_the_order_of_unlike_cards_is_said(ask, gpus, unlike):
    """CUDA numbers the fastest first, so that a share of -ts could land on another card than is meant."""
    words = [x for gpu in gpus for x in ("--gpu", gpu)]
    for command in ("memory", "fit"):
        _, answer, _ = ask("llama-3-8b", "-c", "32768", *words, command=command)
        said = [note for note in answer["notes"] if "numbers the fastest first" in note]
        split = command == "memory" or any(c["tensor_split"] or c["main_gpu"] is not None for c in answer["choices"])
        assert bool(said) == (unlike and split)
