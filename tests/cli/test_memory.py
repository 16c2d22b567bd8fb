"""`inspector memory` through a real process: sums, sweeps, placement, verdicts, and llama.cpp beside it."""

from __future__ import annotations

import json
import os
import stat

import pytest
from schemas import check

from inspector.units import GIB


def memory(run_inspector, *args, code=0, **more):
    got, out, err = run_inspector(["memory", *args, "--json"], **more)
    assert got == code, err
    return check(json.loads(out))


def assert_adds_up(answer):
    assert answer["total_nbytes"] == sum(line["nbytes"] for line in answer["lines"])
    if answer["devices"]:
        assert answer["total_nbytes"] == sum(d["used"] for d in answer["devices"])
    order = ("exact", "derived", "modelled")
    weakest = max((order.index(line["grade"]) for line in answer["lines"]), default=0)
    assert answer["grade"] == ("modelled" if answer["unknown"] else order[weakest])
    assert all(isinstance(line["nbytes"], int) for line in answer["lines"])


ENGINES = ("textbook", "llama.cpp", "vllm", "transformers", "sglang", "mlx")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_total_is_the_sum_of_the_lines_for_every_fixture(engine, files, root, sparse_model, run_inspector):
    configs = sorted((root / "fixtures" / "configs").glob("*.json"))
    targets = [
        files / "gguf" / "tiny-llama-q8_0.gguf", files / "gguf" / "tiny-moe-q8_0.gguf",
        files / "safetensors" / "llama-tied", files / "safetensors" / "mixtral", files / "safetensors" / "packed-awq",
        sparse_model("gemma-3-1b"), *configs[::4],
    ]  # fmt: skip
    answered = 0
    for target in targets:
        code, out, err = run_inspector(["memory", target, "-e", engine, "-c", "2048", "--json"])
        if code == 2:
            assert err.startswith("error: "), target
            continue
        answered += 1
        assert_adds_up(check(json.loads(out)))
    assert answered >= len(targets) - (
        10 if engine in {"mlx", "sglang"} else 4
    )  # these load no GGUF, and fewer model types


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_the_total_is_the_sum_of_the_lines_for_every_config_and_header(engine, root, sparse_model, run_inspector):
    headers = [p.name.removesuffix(".json") for p in (root / "fixtures" / "llamacpp-headers").glob("*.json")]
    targets = [sparse_model(name) for name in headers] + sorted((root / "fixtures" / "configs").glob("*.json"))
    for target in targets:
        code, out, err = run_inspector(["memory", target, "-e", engine, "-c", "4096", "-np", "2", "--json"])
        assert code == 0 or err.startswith("error: "), target
        if code == 0:
            assert_adds_up(check(json.loads(out)))


@pytest.mark.parametrize(
    "options",
    [["--gpu", "24GiB"], ["--gpu", "2xrtx3090", "-ngl", "10"], ["--gpu", "24GiB", "-nkvo"],
     ["--gpu", "24GiB", "--gpu", "8GiB", "-ts", "3,1"], ["--gpu", "24GiB", "-ot", r"ffn_.*=CPU"]],
    ids=" ".join,
)  # fmt: skip
def test_devices_add_up_to_the_total(options, sparse_model, run_inspector):
    answer = memory(run_inspector, sparse_model("llama-3.2-1b"), "-c", "4096", *options)
    assert_adds_up(answer)
    for d in answer["devices"]:
        lines = [line["nbytes"] for line in answer["lines"] if line["device"] == d["device"]]
        assert d["used"] == sum(lines)


def test_more_context_and_more_sequences_never_cost_less(root, sparse_model, run_inspector):
    def totals(target, flag, values, *options):
        return [memory(run_inspector, target, *options, flag, str(v))["total_nbytes"] for v in values]

    contexts = (256, 257, 4096, 32768)
    found = [totals(sparse_model("llama-3.2-1b"), "-c", contexts)]
    config = root / "fixtures" / "configs" / "qwen3-8b.json"
    for engine in ("textbook", "vllm", "transformers", "mlx"):
        found.append(totals(config, "-c", contexts, "-e", engine))
        # not so in llama.cpp, whose -c is shared out among sequences
        found.append(totals(config, "-np", (1, 2, 4), "-e", engine, "-c", "4096"))
    assert found == [sorted(row) for row in found]


def test_a_smaller_cache_type_costs_less(sparse_model, run_inspector):
    model = sparse_model("llama-3.2-1b")

    def cache(name):
        lines = memory(run_inspector, model, "-c", "8192", "-ctk", name, "-ctv", name)["lines"]
        return sum(line["nbytes"] for line in lines if line["what"] == "kv_cache")

    # 16 layers × 8,192 tokens × 8 heads × 64 × (K and V); blocks of 32 elements
    elements = 16 * 8192 * 8 * 64 * 2
    assert [cache(n) for n in ("f32", "f16", "q8_0", "q4_0")] == [
        elements * 4, elements * 2, elements * 34 // 32, elements * 18 // 32,
    ]  # fmt: skip


def test_does_not_fit_is_exit_code_1_and_fits_is_0(sparse_model, run_inspector):
    model = sparse_model("llama-2-70b")
    no = memory(run_inspector, model, "-c", "4096", "--gpu", "24GiB", code=1)
    assert no["fits"] is False
    assert [d["capacity"] for d in no["devices"] if d["capacity"]] == [24 * GIB]
    yes = memory(run_inspector, model, "-c", "4096", "--gpu", "80GiB")
    assert yes["fits"] is True
    assert memory(run_inspector, model, "-c", "4096")["fits"] is None
    code, out, _ = run_inspector(["memory", model, "-c", "4096", "--gpu", "24GiB"])
    assert code == 1
    assert "✘ does not fit GPU 24 GiB" in out.splitlines()[1]


def test_weights_that_are_not_here_leave_no_verdict(root, run_inspector):
    config = root / "fixtures" / "configs" / "gemma-3n-e4b.json"
    answer = memory(run_inspector, config, "-e", "vllm", "-c", "4096", "--gpu", "80GiB")
    assert any(part.startswith("weights") for part in answer["unknown"])
    assert answer["fits"] is None


@pytest.mark.parametrize(("axis", "n"), [("ctx", 5), ("np", 6), ("kv", 5)])
def test_a_sweep_has_a_row_a_point_and_each_is_the_plain_answer(axis, n, sparse_model, run_inspector):
    model = sparse_model("llama-3.2-1b")
    answer = memory(run_inspector, model, "-c", "16384", "--sweep", axis)
    assert answer["axis"] == axis
    assert len(answer["points"]) == n
    for point in answer["points"]:
        parts = {k: v for k, v in point.items() if k not in {axis, "total_nbytes", "grade", "fits"}}
        assert point["total_nbytes"] == sum(parts.values())
    flags = {"ctx": ["-c"], "np": ["-np"], "kv": ["--kv-cache-dtype"]}[axis]
    last = answer["points"][-1]
    options = ["-c", "16384"] if axis != "ctx" else []
    alone = memory(run_inspector, model, *options, *flags, str(last[axis]))
    assert alone["total_nbytes"] == last["total_nbytes"]
    code, out, _ = run_inspector(["memory", model, "-c", "16384", "--sweep", axis])
    assert code == 0
    name = f"{last[axis]:,}" if isinstance(last[axis], int) else last[axis]
    assert any(line.split()[:1] == [name] for line in out.splitlines())


def test_a_sweep_says_where_the_cache_overtakes_the_weights(sparse_model, run_inspector):
    answer = memory(run_inspector, sparse_model("llama-3.2-1b"), "--sweep", "ctx")
    first = next(p["ctx"] for p in answer["points"] if p["kv_cache"] > p["weights"])
    assert answer["kv_overtakes_weights_at"] == first


def test_layers_add_up_to_the_cache(sparse_model, run_inspector):
    answer = memory(run_inspector, sparse_model("gemma-3-1b"), "-c", "8192", "--layers")
    cache = sum(line["nbytes"] for line in answer["lines"] if line["what"] == "kv_cache")
    assert sum(row["nbytes"] for row in answer["layers"]) == cache
    # a window of 512 and a batch of 512 make 1,024 cells
    assert {row["cells"] for row in answer["layers"] if row["kind"] == "sliding"} == {1024}
    assert {row["cells"] for row in answer["layers"] if row["kind"] == "full"} == {8192}


def test_sizes_and_counts_are_read_as_people_type_them(sparse_model, run_inspector):
    model = sparse_model("llama-3.2-1b")
    plain = run_inspector(["memory", model, "--json", "--gpu", "24GiB", "-c", "32768", "-b", "2048", "-np", "100"])
    typed = run_inspector(["memory", model, "--json", "--gpu", "24 GB card", "-c", "32k", "-b", "2k", "-np", "1e2"])
    assert plain[0] == typed[0]
    assert plain[1] == typed[1]
    assert plain[2] == ""
    assert typed[2] == "note: 24 GB card: G and GB are read as GiB (1024³ bytes), as cards and memory are sold\n"


def test_and_so_they_are_by_the_short_way(sparse_model, run_inspector):
    model = sparse_model("llama-3.2-1b")
    code, out, err = run_inspector(["memory", model, "--gpu", "8gb"])
    assert (code, err) == (0, "note: 8gb: G and GB are read as GiB (1024³ bytes), as cards and memory are sold\n")
    assert out == run_inspector(["memory", model, "--gpu", "8GiB"])[1]


def test_that_gb_is_gib_is_said_once(sparse_model, run_inspector):
    model = sparse_model("llama-3.2-1b")
    code, _, err = run_inspector(["fit", model, "--gpu", "8G", "--gpu", "12 gb", "--host", "64GB", "--margin", "1G"])
    assert (code, err.count("note: ")) == (0, 1)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-ctv", "q8_0", "-fa", "off"], "flash attention"),
        (["-ctk", "q99"], "q99"),
        (["--gpu", "24X"], "24X"),
        (["--gpu", "rtx9999"], "rtx9999"),
        (["-e", "vlm"], "vllm"),
        (["--block-size", "32"], "--block-size is for vllm, not for llama.cpp"),
        (["-ts", "0,0"], "shares"),
        (["-ot", "(=CPU"], "regular expression"),
        (["--sweep", "ctx", "--verify"], "--sweep"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(args, says, sparse_model, run_inspector):
    code, out, err = run_inspector(["memory", sparse_model("llama-3.2-1b"), *args])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert says in err
    assert len(err.splitlines()) <= 2


# -- beside llama.cpp itself: an executable of its name, which prints what it was measured to print -----------------

ANSWER = """printf '%s\\n' "$*" > "$0.args"
echo 'build: 11434 (gcc)' >&2
echo 'Host 698 128 274 '
"""


@pytest.fixture
def fit_params(tmp_path):
    """`fit_params(script)` → an environment whose PATH starts with such a program, and where it notes its words."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(script=ANSWER, name="llama-fit-params"):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}, folder / f"{name}.args"

    return make


def test_verify_shows_both_figures(fit_params, sparse_model, run_inspector):
    env, words = fit_params()
    model = sparse_model("llama-3.2-1b")
    answer = memory(run_inspector, model, "-c", "4096", "-ctk", "f16", "--verify", env=env)
    # what llama-fit-params b11434 prints for this file: 698, 128 and 274 MiB
    assert answer["verify"] == {
        name: {"ours_mib": mib, "measured_mib": mib}
        for name, mib in (("weights", 698), ("context", 128), ("compute", 274))
    }
    asked = words.read_text().split()
    for pair in (["-c", "4096"], ["-m", str(model)], ["-ngl", "0"], ["-dev", "none"], ["-ctk", "f16"]):
        at = asked.index(pair[0])
        assert asked[at : at + 2] == pair
    assert "--no-repack" in asked
    code, out, _ = run_inspector(["memory", model, "-c", "4096", "--verify"], env=env)
    assert code == 0
    assert out.splitlines()[-1].split() == ["compute", "274", "MiB", "274", "MiB", "0"]


@pytest.mark.parametrize(
    "options",
    [
        ["--gpu", "24GiB", "--backend", "rpc"],
        ["--outputs", "last"],
        ["--repack", "avx2"],
        ["-e", "vllm"],
        ["-np", "4", "--kv-unified"],
        ["--server", "--outputs", "all"],
        ["--embeddings"],
    ],
    ids=" ".join,
)
def test_verify_refuses_what_it_cannot_ask(options, fit_params, sparse_model, run_inspector):
    env, words = fit_params()
    code, out, err = run_inspector(["memory", sparse_model("llama-3.2-1b"), "--verify", *options], env=env)
    assert (code, out) == (2, "")
    assert err.startswith("error: --verify ")
    assert not words.exists()


def pairs_of(words, flags):
    return {flag: words[words.index(flag) + 1] for flag in flags}


# what llama-fit-params b11434 with CUDA's host code and two cards of 24 GiB prints: -ngl 99 -c 8192
TWO_CARDS = """printf '%s\\n' "$*" > "$0.args"
echo 'CUDA0 417 192 144 '
echo 'CUDA1 280 64 318 '
echo 'Host 140 0 72 '
"""


def test_verify_passes_devices_and_what_goes_where(fit_params, sparse_model, run_inspector):
    env, words = fit_params(TWO_CARDS)
    model = sparse_model("llama-3.2-1b")
    options = ["-c", "8192", "--gpu", "24GiB", "--gpu", "12GiB", "-ts", "2,1", "-ngl", "all", "--verify"]
    answer = memory(run_inspector, model, *options, env=env)
    assert set(answer["verify"]["devices"]) == {"Host", "CUDA0", "CUDA1"}
    assert answer["verify"]["weights"]["measured_mib"] == 417 + 280 + 140
    assert pairs_of(words.read_text().split(), ["-ngl", "-ts", "-c"]) == {"-ngl": "all", "-ts": "2,1", "-c": "8192"}
    memory(run_inspector, model, *options[:-1], "-dev", "CUDA1,CUDA0", "-ot", r"ffn_up=CPU,ffn_down=1", "-ncmoe", "3",
           "-nkvo", "--no-op-offload", "--verify", env=env)  # fmt: skip
    asked = words.read_text().split()
    expected = {"-dev": "CUDA1,CUDA0", "-ot": "ffn_up=CPU,ffn_down=CUDA1", "-ncmoe": "3"}
    assert asked.index("-ot") < asked.index("-ncmoe")  # as typed: of two patterns the first decides
    assert pairs_of(asked, expected) == expected
    assert {"--no-kv-offload", "--no-op-offload"} <= set(asked)


def test_verify_needs_as_many_devices_as_were_asked_about(fit_params, sparse_model, run_inspector):
    env, _ = fit_params(TWO_CARDS)
    code, out, err = run_inspector(["memory", sparse_model("llama-3.2-1b"), "--gpu", "24GiB", "--verify"], env=env)
    assert (code, out) == (2, "")
    assert "runs on CUDA0, CUDA1 here, and 1 devices were asked about" in err


# what llama-server b11434 logs of a load that allocates nothing, before it loads anything: -c 8192 -lv 5
SERVER = """printf '%s\\n' "$*" > "$0.args"
T='0.00.077.093 I common_memory_breakdown_print: |'
echo "$T memory breakdown [MiB]      | total    free    self   model   context   compute    unaccounted |" >&2
echo "$T   - CUDA0 (Fake GPU cc 8.9) | 24576 = 24576 + (1026 =   698 +     256 +      72) +       -1026 |" >&2
echo "$T   - Host                    |                   164 =   140 +       0 +      24                |" >&2
echo '0.00.085.190 I common_params_fit_impl: projected to use 1026 MiB of device memory' >&2
exec sleep 300
"""


def test_verify_asks_llama_server_about_a_server_and_stops_it_before_it_loads(fit_params, sparse_model, run_inspector):
    env, words = fit_params(SERVER, "llama-server")
    model = sparse_model("llama-3.2-1b")
    options = ["-c", "8192", "--gpu", "24GiB", "--server", "--verify"]
    answer = memory(run_inspector, model, *options, env=env)
    for rows in answer["verify"]["devices"].values():
        assert all(row["ours_mib"] == row["measured_mib"] for row in rows.values())
    assert answer["verify"]["devices"]["CUDA0"]["compute"]["measured_mib"] == 72
    asked = words.read_text().split()
    assert "-np" not in asked
    assert not {"--kv-unified", "--no-kv-unified"} & set(asked)
    memory(run_inspector, model, *options, "-np", "2", "-kvu", env=env)
    assert "--kv-unified" in words.read_text().split()
    assert pairs_of(words.read_text().split(), ["-np", "--host"]) == {"-np": "2", "--host": "127.0.0.1"}


@pytest.mark.parametrize(("script", "says"), [("echo oops >&2; exit 1", "oops"), ("exit 3", "exit code 3")])
def test_verify_says_when_llama_cpp_gives_nothing(script, says, fit_params, sparse_model, run_inspector):
    env, _ = fit_params(script)
    code, out, err = run_inspector(["memory", sparse_model("llama-3.2-1b"), "--verify"], env=env)
    assert (code, out) == (2, "")
    assert says in err


def test_verify_needs_the_program(tmp_path, sparse_model, run_inspector):
    code, out, err = run_inspector(["memory", sparse_model("llama-3.2-1b"), "--verify"], env={"PATH": str(tmp_path)})
    assert (code, out) == (2, "")
    assert "needs llama-fit-params on PATH" in err


def test_verify_needs_a_whole_file(fit_params, files, tmp_path, run_inspector):
    env, _ = fit_params()
    part = tmp_path / "part.gguf"
    part.write_bytes((files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes()[:-1000])
    code, out, err = run_inspector(["memory", part, "--verify"], env=env)
    assert (code, out) == (2, "")
    assert "needs the whole model" in err


def test_what_vllm_does_not_load_is_said_beside_its_figures(run_inspector, files):
    code, out, _ = run_inspector(["memory", files / "gguf" / "tiny-llama-q8_0.gguf", "-e", "vllm", "--json"])
    assert code == 0
    assert json.loads(out)["notes"][0].startswith("vLLM 0.33.0 loads no GGUF files")
