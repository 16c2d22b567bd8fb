from __future__ import annotations

import json
import os
import shlex
import shutil

import pytest
from schemas import check

from inspector.cli.group import run_command_line
from inspector.memory.engines.rows.llamacpp import model_words
from inspector.memory.fit.records import Candidate
from inspector.quantization.mix_targets import QUANT_TARGETS
from inspector.units import GIB


@pytest.fixture
def run(capsys):
    """`run(*words) -> (exit code, stdout, stderr)`, in this process."""

    def call(*words):
        code = run_command_line([str(w) for w in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def ask(run):
    """`ask(*words) -> (exit code, the JSON answer)`."""

    def call(*words):
        code, out, err = run("fit", *words, "--json")
        assert not err, err
        return code, check(json.loads(out))

    return call


def total_by_memory(run, words) -> int:
    code, out, err = run(*words, "--json")
    assert code in (0, 1), err
    return json.loads(out)["total_nbytes"]


CASES = [
    ("llama-3.2-1b", ["--gpu", "rtx3060"]),
    ("llama-3.1-70b", ["--gpu", "2xrtx3090"]),
    ("llama-3.1-70b", ["--gpu", "rtx3090", "--gpu", "rtx3060"]),
    ("llama-3-8b", ["--gpu", "6GiB", "-c", "10000", "-np", "2"]),
    ("llama-3-8b", ["--gpu", "8GiB", "--kv", "q8_0", "-np", "3", "--kv-unified", "-ub", "256", "-b", "1024"]),
    ("llama-3-8b", ["--gpu", "6GiB", "--no-kv-offload"]),
    ("llama-3-8b", ["--gpu", "8GiB", "-fa", "off"]),
    ("llama-3-8b", ["--gpu", "8GiB", "-ctk", "q8_0", "-ctv", "f16"]),
    ("qwen3-30b-a3b", ["--gpu", "rtx3060"]),
    ("gpt-oss-20b", ["--gpu", "rtx3060", "--swa-full"]),
    ("falcon-h1-7b", ["--gpu", "2x3GiB", "--no-kv-offload"]),
    ("mamba-2.8b", ["--gpu", "8GiB"]),
]


@pytest.mark.parametrize(("name", "words"), CASES, ids=lambda x: x if isinstance(x, str) else " ".join(x))
def test_every_command_line_read_back_by_memory_gives_the_same_total(sparse_model, run, ask, name, words):
    path = sparse_model(name)
    code, answer = ask(path, *words)
    assert code == 0
    gpus = [w for i, w in enumerate(words) if "--gpu" in (w, words[i - 1])]
    for choice in answer["choices"]:
        server = shlex.split(choice["command"])
        assert server[:3] == ["llama-server", "-m", str(path)]
        read_back = ["memory", path, "--server", "--outputs", "last", *server[3:], *gpus]
        assert total_by_memory(run, read_back) == choice["total_nbytes"], choice["command"]
        assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]
        assert choice["total_nbytes"] == sum(line["nbytes"] for line in choice["lines"])


@pytest.fixture(scope="session")
def config_folder(tmp_path_factory):
    """A small Llama checkpoint: config.json, and weights whose header is real and whose data is a hole."""
    folder = tmp_path_factory.mktemp("hf")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 2, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "vocab_size": 32000, "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
        "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    d, f, kv = 2048, 8192, 512
    shapes = {"model.embed_tokens.weight": [32000, d], "model.norm.weight": [d]}
    for i in range(2):
        layer = f"model.layers.{i}."
        shapes |= {f"{layer}{n}.weight": [d] for n in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{layer}self_attn.{n}_proj.weight": [d, d] for n in "qo"}
        shapes |= {f"{layer}self_attn.{n}_proj.weight": [kv, d] for n in "kv"}
        shapes |= {f"{layer}mlp.{n}_proj.weight": [f, d] for n in ("gate", "up")}
        shapes[f"{layer}mlp.down_proj.weight"] = [d, f]
    at, header = 0, {}
    for name, shape in shapes.items():
        nbytes = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + nbytes]}
        at += nbytes
    raw = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + at)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--gpu", "rtx3060"],
        ["--gpu", "2xrtx3060", "-np", "16", "--longest"],
        ["--gpu", "4GiB", "--gpu-memory-utilization", "0.9", "--kv", "fp8"],
        ["--gpu", "rtx3060", "--gpu", "rtx3060"],
    ],
    ids=" ".join,
)
def test_vllm_serve_read_back_by_memory_gives_the_same_total(config_folder, run, ask, words):
    code, answer = ask(config_folder, *words)
    assert code == 0
    for choice in answer["choices"]:
        serve = shlex.split(choice["command"])
        assert serve[:3] == ["vllm", "serve", str(config_folder)]
        gpus = [x for w in words if "rtx" in w or "GiB" in w for x in ("--gpu", w)]
        at_once = [{"--max-num-seqs": "-np"}.get(w, w) for w in serve[3:]]  # to vLLM it is a ceiling, not a demand
        read_back = ["memory", config_folder, "--engine", "vllm", *at_once, *gpus]
        assert total_by_memory(run, read_back) == choice["total_nbytes"], choice["command"]
        assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]


@pytest.mark.parametrize("engine", ["textbook", "transformers"])
def test_other_engines_have_a_memory_command_with_the_same_total(config_folder, run, ask, engine):
    code, answer = ask(config_folder, "--gpu", "rtx3060", "-e", engine, "-np", "2")
    assert code == 0
    for choice in answer["choices"]:
        assert choice["command"] is None
        assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]


@pytest.fixture
def quants(tmp_path, sparse_model):
    """A folder, with a space in its name, of two quants of one model: two names for one header."""
    folder = tmp_path / "my quants"
    folder.mkdir()
    for name in ("Llama-Q4_K_M.gguf", "Llama-Q5_K_M.gguf"):
        shutil.copyfile(sparse_model("llama-3.2-1b"), folder / name)
        os.truncate(folder / name, os.path.getsize(sparse_model("llama-3.2-1b")))
    return folder


def test_a_folder_of_quants_is_a_choice_among_them(quants, ask):
    code, answer = ask(quants, "--gpu", "rtx3060")
    assert code == 0
    assert answer["n_candidates"] == 2
    paths = [shlex.split(c["command"])[2] for c in answer["choices"]]
    assert sorted(paths) == sorted(str(p) for p in quants.iterdir())


def test_a_file_of_the_folder_that_cannot_be_read_is_left_out_and_named(quants, ask):
    (quants / "Llama-Q8_0.gguf").write_bytes(b"GGUF" + bytes(4))
    code, answer = ask(quants, "--gpu", "rtx3060")
    assert code == 0
    assert any("Llama-Q8_0.gguf is left out" in note for note in answer["notes"])


def test_text_says_what_gave_way_what_is_left_and_what_to_type(sparse_model, run):
    path = sparse_model("llama-3.1-70b")
    code, out, _ = run("fit", path, "--gpu", "2xrtx3090", "--margin", "0", "-v")
    assert code == 0
    assert "gave way: cache q8_0 instead of f16" in out
    assert f"llama-server -m {path} -c 32768 -ngl 81 -ts 41,40 -ctk q8_0 -ctv q8_0 -fa on" in out
    assert "in this order: no layers on the host > Q4_K_M or finer" in out
    assert "smallest GPU that holds all of it: RTX PRO 5000" in out


@pytest.mark.parametrize("gpus", [("24GiB",), ("rtx3090",), ("rtx4090", "16GiB")])
def test_every_choice_leaves_what_llama_cpp_itself_keeps_free_however_a_card_is_spelled(sparse_model, run, ask, gpus):
    words = [w for gpu in gpus for w in ("--gpu", gpu)]
    code, answer = ask(sparse_model("qwen3-30b-a3b"), *words)
    assert code == 0
    assert answer["margin"] == 1024 << 20
    reserve = {g["name"]: g["reserve"] for g in answer["gpus"]}
    for choice in answer["choices"]:
        on_cards = [d for d in choice["devices"] if d["device"] != "host"]
        used = list(reserve) if choice["main_gpu"] is None else [list(reserve)[choice["main_gpu"]]]
        assert [d["device"] for d in on_cards] == used
        assert all(d["capacity"] - reserve[d["device"]] - d["used"] >= 1024 << 20 for d in on_cards)
    code, out, _ = run("fit", sparse_model("qwen3-30b-a3b"), *words)
    assert "beside the 1.00 GiB kept free" in " ".join(out.split())


@pytest.mark.parametrize("backend", ["rpc", "vulkan"])
def test_the_memory_command_names_the_back_end_that_was_asked_for(sparse_model, run, ask, backend):
    code, answer = ask(sparse_model("llama-3-8b"), "--gpu", "6GiB", "--backend", backend, "--most", "1")
    assert code == 0
    (choice,) = answer["choices"]
    assert f"--backend {backend}" in choice["memory_command"]
    assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]


def test_memory_says_when_less_is_left_than_llama_cpp_keeps_free(sparse_model, run):
    path = sparse_model("llama-3-8b")
    assert "llama.cpp keeps free" not in run("memory", path, "-c", "8192", "--gpu", "8GiB")[1]
    code, out, _ = run("memory", path, "-c", "8192", "--gpu", "6.3GiB")
    assert code == 0
    assert "fits, but with less than the 1.00 GiB that llama.cpp keeps free by itself" in " ".join(out.split())


def test_quants_that_could_be_made_come_with_the_command_that_makes_them(sparse_model, run, ask):
    path = sparse_model("llama-3.1-70b")
    code, answer = ask(path, "--gpu", "rtx3090", "--hypothetical", "--no-offload", "--gpu", "rtx3060")
    assert code == 0
    made = [c for c in answer["choices"] if c["candidate"]["hypothetical"]]
    assert made
    for choice in made:
        words = shlex.split(choice["quantize_command"])
        matrix = ["--imatrix", "imatrix.gguf"] if QUANT_TARGETS[choice["candidate"]["label"]].needs_imatrix else []
        assert words[:-3] == ["llama-quantize", "--allow-requantize", *matrix]
        assert words[-3:] == [str(path), choice["candidate"]["path"], choice["candidate"]["label"]]
        assert ("to be made with an importance matrix" in choice["gave_way"]) is bool(matrix)
        assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]


def test_a_quant_that_is_there_is_taken_and_not_predicted(sparse_model, ask):
    code, answer = ask(sparse_model("llama-3-8b"), "--gpu", "rtx4090", "--quant", "q4_k_m")
    assert code == 0
    assert {c["candidate"]["hypothetical"] for c in answer["choices"]} == {False}
    assert {c["quantize_command"] for c in answer["choices"]} == {None}


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "gpt-oss-20b", "llama-3-8b"])
def test_a_config_alone_is_answered_through_conversion_and_quantisation(root, run, ask, name):
    path = root / "fixtures" / "configs" / f"{name}.json"
    code, answer = ask(path, "--gpu", "rtx4090", "-e", "llama.cpp", "--quant", "Q4_K_M")
    choice = answer["choices"][0]
    assert (code, choice["candidate"]["hypothetical"]) == (0, True)
    assert choice["grade"] == "modelled"  # CUDA's context and pools are; what is predicted is derived
    assert choice["candidate"]["label"] == choice["effective"]["quant"] == "Q4_K_M"
    assert choice["convert_command"] is None  # there are no weights to convert
    code, out, _ = run("quantize-size", path, "--to", "Q4_K_M", "--json")
    assert json.loads(out)["results"][0]["nbytes"] == choice["candidate"]["nbytes"]
    assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]


def test_a_checkpoint_comes_with_the_commands_that_convert_and_quantise_it(config_folder, run, ask):
    code, answer = ask(config_folder, "--gpu", "1700MiB", "-e", "llama.cpp")
    choice = answer["choices"][0]
    assert code == 0
    base, label = f"{config_folder.name}-BF16.gguf", choice["candidate"]["label"]
    assert label not in {"BF16", "F16"}
    convert = ["convert_hf_to_gguf.py", str(config_folder), "--outtype", "bf16", "--outfile", base]
    assert shlex.split(choice["convert_command"]) == convert
    made = f"{config_folder.name}-{label}.gguf"
    assert shlex.split(choice["quantize_command"]) == ["llama-quantize", base, made, label]
    assert shlex.split(choice["command"])[:3] == ["llama-server", "-m", made]
    assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]
    code, out, _ = run("fit", config_folder, "--gpu", "1700MiB", "-e", "llama.cpp")
    assert "predicted (derived) as convert_hf_to_gguf.py and llama-quantize would make it" in " ".join(out.split())
    assert choice["convert_command"] in out


def test_a_model_that_the_converter_does_not_know_is_one_line(root, run):
    path = root / "fixtures" / "configs" / "opt-6.7b.json"
    code, out, err = run("fit", path, "--gpu", "rtx4090", "-e", "llama.cpp")
    assert (code, out) == (2, "")
    assert err.startswith("error: llama.cpp's converter does not know OPTForCausalLM\n")


def test_nothing_fits_is_exit_code_one_and_says_what_is_missing(sparse_model, run, ask):
    path = sparse_model("llama-3.1-70b")
    code, answer = ask(path, "--gpu", "rtx3060", "--no-offload")
    assert code == 1
    assert answer["fits"] is False
    (missing,) = answer["lack"]["missing"]
    assert missing["device"] == "RTX 3060"
    assert missing["nbytes"] > 20 * GIB
    code, out, _ = run("fit", path, "--gpu", "rtx3060", "--no-offload")
    assert code == 1
    assert out.splitlines()[1] == "✘ nothing fits"
    assert "GiB missing" in out


def test_host_memory_that_is_too_small_is_missing_too(sparse_model, ask):
    code, answer = ask(sparse_model("llama-3.1-70b"), "--gpu", "rtx3060", "--host", "8GiB")
    assert code == 1
    assert {m["device"] for m in answer["lack"]["missing"]} <= {"host", "RTX 3060"}
    code, answer = ask(sparse_model("llama-3.1-70b"), "--gpu", "rtx3060", "--host", "64GiB")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no GPU was found on this machine"),
        (["--gpu", "nosuchcard"], "no GPU called 'nosuchcard'"),
        (["--gpu", "24X"], "24X"),
        (["--gpu", "rtx3060", "--prefer", "speed"], "no preference 'speed'"),
        (["--gpu", "rtx3060", "--min-quant", "Q9_X"], "Q9_X"),
        (["--gpu", "rtx3060", "--min-quant", "F32"], "nothing here is F32 or finer"),
        (["--gpu", "rtx3060", "--kv", "q9"], "q9"),
        (["--gpu", "rtx3060", "--engine", "ollama"], "unknown engine"),
        (["--gpu", "rtx3060", "--quant", "Q4_K_M", "-e", "vllm"], "--quant is for textbook and llama.cpp"),
        (["--gpu", "rtx3060", "--quant", "nf4"], "llama-quantize has no type 'nf4'"),
        (["--gpu", "rtx3060", "--block-size", "16"], "--block-size is for vllm"),
        (["--gpu", "rtx3060", "-fa", "off", "--kv", "q4_0"], "requires flash attention"),
        (["--gpu", "rtx3060", "-ts", "1,1"], "a split in 2 for 1 devices"),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_what_cannot_be_asked_is_exit_code_two_and_one_line(sparse_model, run, words, says):
    code, out, err = run("fit", sparse_model("llama-3-8b"), *words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("error: ")
    assert err.count("\n") <= 2


def test_a_file_cut_short_is_exit_code_two(tmp_path, sparse_model, run):
    path = tmp_path / "cut.gguf"
    shutil.copyfile(sparse_model("llama-3.2-1b"), path)
    os.truncate(path, os.path.getsize(path) // 2)
    code, _, err = run("fit", path, "--gpu", "rtx3060")
    assert code == 2
    assert err


def test_what_is_beside_the_model_is_in_both_command_lines_that_fit_prints(run, ask, sparse_model):
    model, draft = sparse_model("llama-3-8b"), sparse_model("llama-3.2-1b")
    words = ["--gpu", "rtx3090", "-c", "8192", "--draft", str(draft), "--spec-type", "draft-simple"]
    words += ["-ctkd", "q8_0", "-ctvd", "q8_0", "-ot", r"blk\.31\.ffn_up=CPU", "--cache-ram", "0"]
    code, body = ask(model, *words)
    assert code == 0
    choice = body["choices"][0]
    typed = shlex.split(choice["command"])
    assert typed[typed.index("-md") + 1] == str(draft)
    assert typed[typed.index("-ot") + 1] == r"blk\.31\.ffn_up=CPU"
    assert typed[typed.index("-ctkd") + 1] == "q8_0"
    assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]


@pytest.mark.parametrize(
    ("hub", "path", "words"),
    [
        ("a/b:Q4_K_M", "a/b/x-Q4_K_M.gguf", ["-hf", "a/b:Q4_K_M"]),
        ("a/b", "a/b", ["-hf", "a/b"]),
        ("a/b/sub/x.gguf", "a/b/sub/x.gguf", ["-hf", "a/b", "--hf-file", "sub/x.gguf"]),
        ("a/b@v1/x.gguf", "a/b@v1", ["-mu", "https://huggingface.co/a/b/resolve/v1/x.gguf"]),
        ("a/b@v1:Q4_0", "a/b@v1/sub/x.gguf", ["-mu", "https://huggingface.co/a/b/resolve/v1/sub/x.gguf"]),
        ("https://x.org/m.gguf", "https://x.org/m.gguf", ["-mu", "https://x.org/m.gguf"]),
        ("", "./m.gguf", ["-m", "./m.gguf"]),
    ],
)
def test_a_repository_is_named_in_the_one_form_that_llama_server_takes(hub, path, words):
    assert model_words(Candidate("Q4_K_M", None, path, 1, hub=hub)) == words


def test_a_model_that_fits_one_of_unlike_cards_is_not_spread(sparse_model, run, ask):
    path = sparse_model("llama-3-8b")
    _, unlike = ask(path, "--gpu", "rtx4060", "--gpu", "rtx3060", "-c", "8192")
    best = unlike["choices"][0]
    assert (best["main_gpu"], best["tensor_split"]) == (1, None)  # the one with most room
    assert "-sm none -mg 1" in best["command"]
    assert {d["device"] for d in best["devices"]} == {"host", "RTX 3060"}
    assert total_by_memory(run, shlex.split(best["memory_command"])[1:]) == best["total_nbytes"]
    assert any("-mg counts the devices in this order: RTX 4060, RTX 3060" in note for note in unlike["notes"])
    _, alone = ask(path, "--gpu", "rtx3060", "-c", "8192")
    assert best["total_nbytes"] == alone["choices"][0]["total_nbytes"]
    assert "all on RTX 3060" in run("fit", path, "--gpu", "rtx4060", "--gpu", "rtx3060", "-c", "8192")[1]
    _, alike = ask(path, "--gpu", "2xrtx3060", "-c", "8192")
    assert alike["choices"][0]["main_gpu"] is None
    _, large = ask(sparse_model("qwen3-30b-a3b"), "--gpu", "rtx4060ti 16gb", "--gpu", "rtx3060", "-c", "8192")
    assert len(large["choices"][0]["tensor_split"]) == 2


def test_a_coarser_cache_is_offered_only_where_it_buys_something(sparse_model, ask):
    path = sparse_model("llama-3.1-70b")
    _, fixed = ask(path, "--gpu", "2xrtx3090", "-c", "8192")  # all of what was asked for, with the finest cache
    assert [c["kv_dtype_k"] for c in fixed["choices"]] == ["f16"]
    _, free = ask(path, "--gpu", "2xrtx3090")
    kinds = [(c["level"], c["n_ctx"], c["n_gpu_layers"], c["largest_ctx"], c["kv_dtype_k"]) for c in free["choices"]]
    for level, n_ctx, ngl, largest, kv in kinds:
        finer = {"q4_0": ("q8_0", "f16"), "q8_0": ("f16",), "f16": ()}[kv]
        for other in kinds:
            if other[4] in finer and other[0] == level:
                assert n_ctx > other[1] or ngl > other[2] or largest > other[3]


def test_a_cpu_alone_is_answered_by_llama_cpp(sparse_model, run, ask):
    path = sparse_model("llama-3-8b")
    code, answer = ask(path, "--gpu", "none", "-c", "8192", "--host", "16GiB")
    (choice,) = answer["choices"]
    assert (code, answer["gpus"]) == (0, [])
    assert choice["command"] == f"llama-server -m {path} -c 8192 -ngl 0 -dev none -fa on"
    assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]
    (host,) = choice["devices"]
    assert host["headroom"] == (16 << 30) - (1 << 30) - host["used"] - (8 << 30)  # what the prompt cache may grow to
    assert choice["gave_way"] == []
    code, answer = ask(path, "--gpu", "none", "--host", "5GiB")
    assert (code, [m["device"] for m in answer["lack"]["missing"]]) == (1, ["host"])
    assert "on the CPU" in run("fit", path, "--gpu", "none")[1]
    assert run("memory", path, "--gpu", "none")[1] == run("memory", path)[1]
    for words in (["--gpu", "none", "--gpu", "rtx4090"], ["--gpu", "none", "-e", "vllm"]):
        code, _, err = run("fit", path, *words)
        assert code == 2
        assert "none" in err


def test_several_models_of_a_folder_are_named(sparse_model, run, tmp_path):
    for name in ("llama-3.2-1b", "qwen2.5-7b"):
        (tmp_path / f"{name}.gguf").hardlink_to(sparse_model(name))
    code, out, _ = run("fit", tmp_path, "--gpu", "rtx3060")
    assert code == 0
    table = [line.split() for line in out.splitlines()]
    assert ["1", "qwen2.5-7b"] in [row[:2] for row in table]
    assert ["2", "llama-3.2-1b"] in [row[:2] for row in table]
    assert "instead of Q4_K_M" not in out  # another model is no quant of this one


@pytest.mark.parametrize("words", [[], ["--embeddings"], ["--outputs", "all"], ["--repack", "avx2"], ["--swa-full"]])
def test_what_was_asked_of_llama_cpp_is_in_both_command_lines(sparse_model, run, ask, words):
    code, answer = ask(sparse_model("gemma-3-1b"), "--gpu", "8GiB", "-c", "8192", *words)
    assert code == 0
    for choice in answer["choices"]:
        assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]
        assert ("--embeddings" in choice["command"]) == (words == ["--embeddings"])


def test_embeddings_and_all_outputs_reserve_a_whole_batch(sparse_model, ask):
    """server_output_limits, tools/server/server-context.cpp."""
    total = {}
    for words in ([], ["--embeddings"], ["--outputs", "all"]):
        choice = ask(sparse_model("gemma-3-1b"), "--gpu", "8GiB", "-c", "8192", *words)[1]["choices"][0]
        total[" ".join(words)] = sum(x["nbytes"] for x in choice["lines"] if x["what"] == "compute")
    assert total["--embeddings"] == total["--outputs all"] > total[""] + 400 * (1 << 20)


@pytest.mark.parametrize("engine", ["textbook", "transformers", "vllm"])
def test_fewer_tokens_and_a_window_are_kept_in_the_memory_command(root, run, ask, engine):
    config = root / "fixtures" / "configs" / "qwen3-8b.json"
    quant = ["--quant", "bf16"] if engine == "textbook" else []
    words = ["-e", engine, "--gpu", "h100", "-c", "8192", "--window", "3000", "--kv-keep", "64+1024", *quant]
    answer = ask(config, *words)[1]
    choice = answer["choices"][0]
    assert "--kv-keep 64+1024 --window 3000" in choice["memory_command"]
    assert total_by_memory(run, shlex.split(choice["memory_command"])[1:]) == choice["total_nbytes"]
    assert "--kv-keep" not in (choice["command"] or "")


def test_llama_cpp_says_that_it_prunes_no_tokens(sparse_model, run):
    out = " ".join(run("memory", sparse_model("gemma-3-1b"), "--kv-keep", "4+100", "--window", "512")[1].split())
    assert "--kv-keep is no option of llama.cpp" in out
    assert "--window is no option of llama.cpp" in out
