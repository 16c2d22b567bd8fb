"""Engines' own command lines, as people post them, pasted behind `--`: the same figures as our own options.

The lines are of public threads' kinds, with their models replaced by ones that are here; names and arities are those of
llama.cpp b11434 (common/arg.cpp), vllm 0.33.0 (engine/arg_utils.py) and mlx-lm 0.32.2 (generate.py, server.py).
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import make_stores
import pytest

from inspector.cli.group import run_command_line

CONFIGS = Path(__file__).resolve().parents[2] / "fixtures" / "configs"
MOE, DENSE, CONFIG = "gpt-oss-20b", "llama-3.2-1b", "qwen3-8b"
SERVER = "--server --outputs last"

# (what people type; the same in our own options)
# fmt: off
# ruff: noqa: E501, ISC004 - one line of theirs, one of ours
LLAMA = [
    ("llama-server -m M -c 32768 -ngl 99 -ctk q8_0 -ctv q8_0 -fa on --jinja -t 8",
     "-c 32768 -ngl 99 -ctk q8_0 -ctv q8_0 -fa on"),
    ("llama-server --model M --ctx-size 0 --jinja --flash-attn --n-gpu-layers 99 --reasoning-format none --n-cpu-moe 3",
     "-fa on -ngl 99 -ncmoe 3"),
    ("./build/bin/llama-server -m M -ngl 99 -c 131072 -np 1 --host 127.0.0.1 --port 8080 --api-key x -a me --jinja",
     "-ngl 99 -c 131072 -np 1"),
    ("./llama-server -m M -c 65536 --parallel 4 -b 4096 -ub 1024 -fa auto --no-webui --metrics --slots",
     "-c 65536 -np 4 -b 4096 -ub 1024 -fa auto"),
    ("llama-server -m M -ngl 999 -ot 'blk\\.(1[0-9])\\.ffn_.*_exps\\.=CPU' -c 16384 --temp 0.7 --top-p 0.8 --top-k 20",
     "-ngl 999 -ot 'blk\\.(1[0-9])\\.ffn_.*_exps\\.=CPU' -c 16384"),
    ("llama-server -m M -ot '.ffn_.*_exps.=CPU' -ngl 99 -c 8192 -ts 3,1 --no-mmap",
     "-ot '.ffn_.*_exps.=CPU' -ngl 99 -c 8192 -ts 3,1 --load-mode none"),
    ("llama-server -m M --cpu-moe -ngl 99 -c 32768 -kvu -np 4", "-cmoe -ngl 99 -c 32768 -kvu -np 4"),
    ("llama-server -m M -cmoe -c 4096 -nkvo", "-cmoe -c 4096 -nkvo"),
    ("llama-server -m M -c 4096 --no-kv-offload --mlock --numa distribute", "-c 4096 -nkvo"),
    ("llama-server -m M -c 8192 -fa off -ngl 10 --threads 16 --threads-batch 16 --prio 2", "-c 8192 -fa off -ngl 10"),
    ("llama-server -m M -c 4096 --embedding --pooling mean -ub 2048 -b 2048", "-c 4096 --embeddings -ub 2048 -b 2048"),
    ("llama-server -m M -c 8192 --no-context-shift --keep -1 --seed 42 --cache-reuse 256", "-c 8192"),
    ("llama-server -m M -c 40960 --rope-scaling yarn --rope-scale 4 --yarn-orig-ctx 32768", "-c 40960"),
    ("llama-server -m M -c 8192 -sm none -mg 1 --no-warmup", "-c 8192 -sm none -mg 1"),
    ("llama-server -m M -c 8192 -dev CUDA1,CUDA0 -ts 1,3", "-c 8192 -dev CUDA1,CUDA0 -ts 1,3"),
    ("llama-server -m M -c 8192 --no-op-offload -ngl 8", "-c 8192 --no-op-offload -ngl 8"),
    ("llama-server -m M -c 32768 --swa-full --chat-template-kwargs '{\"reasoning_effort\": \"high\"}'",
     "-c 32768 --swa-full"),
    ("llama-server -m M -c 8192 -lm dio --fit off --log-file x.log -lv 4", "-c 8192 --load-mode dio"),
    ("llama serve -m M -c 8192 -np 2 --alias me", "-c 8192 -np 2"),
    ("LLAMA_ARG_CTX_SIZE=8192 LLAMA_ARG_FLASH_ATTN=on LLAMA_ARG_N_PARALLEL=2 llama-server -m M",
     "-c 8192 -fa on -np 2"),
    ("LLAMA_ARG_NO_KV_OFFLOAD=1 LLAMA_ARG_CTX_SIZE=8192 llama-server -m M -c 4096", "-c 4096 -nkvo"),
    ("CUDA_VISIBLE_DEVICES=0,1 GGML_CUDA_ENABLE_UNIFIED_MEMORY=1 llama-server -m M -c 4096 -ngl all",
     "-c 4096 -ngl all"),
    ("sudo numactl --interleave=all ./llama-server -m M -c 4096 -t 32", "-c 4096"),
    ("docker run --gpus all -e LLAMA_ARG_CTX_SIZE=2048 -v /m:/m -p 8080:8080 ghcr.io/ggml-org/llama.cpp:server-cuda "
     "-m M -np 1 --host 0.0.0.0", "-c 2048 -np 1"),
    ("llama-server.exe -m M -c 4096 -ngl -1", "-c 4096 -ngl -1"),
]  # fmt: skip
CLI = [
    ("llama-cli -m M -p 'Once upon a time' -n 128 -c 4096 -ngl 99 --color", "-c 4096 -ngl 99"),
    ("./llama-cli -m M -cnv -sys 'You are kind.' -c 8192 -fa on --temp 0", "-c 8192 -fa on"),
    ("llama-cli -m M -st --no-display-prompt --ignore-eos -n 64 -c 2048 -ctk f16", "-c 2048 -ctk f16"),
]
VLLM = [
    ("vllm serve M --max-model-len 16384 --gpu-memory-utilization 0.9 --enable-auto-tool-choice --tool-call-parser hermes",
     "--max-model-len 16384 --gpu-memory-utilization 0.9"),
    ("python3 -m vllm.entrypoints.openai.api_server --host 0.0.0.0 --port 12345 --max-model-len 20480 "
     "--trust-remote-code --tensor-parallel-size 2 --served-model-name a b --model M",
     "--max-model-len 20480 -tp 2"),
    ("vllm serve M --enable-prefix-caching --port 9001 -tp 2 --max-model-len 15000 --gpu-memory-utilization 0.78 "
     "--enable-chunked-prefill --swap-space 4", "-tp 2 --max-model-len 15000 --gpu-memory-utilization 0.78"),
    ("CUDA_VISIBLE_DEVICES=0,1 VLLM_USE_V1=1 vllm serve M --max-model-len 4096 --tensor-parallel-size 2 "
     "--disable-custom-all-reduce", "--max-model-len 4096 -tp 2"),
    ("vllm serve M --max_model_len 8192 --max_num_seqs 16 --enforce_eager", "--max-model-len 8192 --max-num-seqs 16 --enforce-eager"),
    ("vllm serve M --max-model-len=8192 --kv-cache-dtype=fp8 --dtype=bfloat16", "--max-model-len 8192 --kv-cache-dtype fp8 --dtype bfloat16"),
    ("vllm serve M --max-model-len 16k --max-num-batched-tokens 4K", "--max-model-len 16000 --max-num-batched-tokens 4096"),
    ("vllm serve M --dtype auto --kv-cache-dtype auto --max-model-len 4096 --seed 0", "--max-model-len 4096"),
    ("vllm serve M --max-model-len 4096 --block-size 32 --no-enable-prefix-caching --disable-log-requests", "--max-model-len 4096 --block-size 32"),
    ("docker run --runtime nvidia --gpus all --ipc=host -p 8000:8000 vllm/vllm-openai:latest --model M --max-model-len 8192",
     "--max-model-len 8192"),
    ("uv run vllm serve M --max-model-len 8192 --reasoning-parser qwen3", "--max-model-len 8192"),
    ("vllm serve M --max-model-len 8192 --api-key a --chat-template x.jinja --uvicorn-log-level warning", "--max-model-len 8192"),
]  # fmt: skip

MLX = [
    ("mlx_lm.generate --model M --prompt hello --max-kv-size 4096 --temp 0.7", "--max-kv-size 4096"),
    ("mlx_lm.server --model M --host 0.0.0.0 --port 8080 --log-level INFO --decode-concurrency 4", "-np 4"),
    ("python3 -m mlx_lm.server --model M --kv-bits 8 --kv-group-size 32 --quantized-kv-start 0",
     "--kv-bits 8 --kv-group-size 32 --quantized-kv-start 0"),
    ("uv run mlx_lm generate --model M --prefill-step-size 512 -p -", "--prefill-step-size 512"),
    ("python -m mlx_lm chat --model M --trust-remote-code", ""),
]  # fmt: skip

SGLANG = [
    ("python3 -m sglang.launch_server --model-path M --context-length 16384 --mem-fraction-static 0.85 --host 0.0.0.0 --port 30000",
     "-c 16384 --mem-fraction-static 0.85"),
    ("sglang serve M --tp 2 --context-length 8192 --kv-cache-dtype fp8_e5m2 --trust-remote-code --reasoning-parser qwen3",
     "-tp 2 -c 8192 --kv-cache-dtype fp8_e5m2"),
    ("python -m sglang.launch_server --model M --context_length 8192 --chunked-prefill-size=4096 --cuda-graph-max-bs 16",
     "-c 8192 --chunked-prefill-size 4096 --cuda-graph-max-bs-decode 16"),
    ("docker run --gpus all --shm-size 32g -p 30000:30000 -v ~/.cache:/root/.cache --ipc=host lmsysorg/sglang:latest "
     "python3 -m sglang.launch_server --model-path M --context-length 4096 --dtype half --disable-radix-cache",
     "-c 4096 --dtype float16"),
    ("sglang serve --model-path M --context-length 4096 --max-running-requests 4 --disable-cuda-graph --kv-cache-dtype auto",
     "-c 4096 --max-running-requests 4 --disable-cuda-graph"),
]  # fmt: skip
# llama-bench: a context of its largest test; llama-server's defaults are not its own
BENCH = [
    ("llama-bench -m M", "-c 512"),
    ("./llama-bench -m M -p 512,2048 -n 128 -ngl 99 -fa 1 -t 8 -r 3 -o md", "-c 2048 -ngl 99 -fa on"),
    ("llama-bench -m M -p 0 -n 64 -pg 4096,256 -d 0,8192 -ctk q8_0 -ctv q8_0 -fa 1", "-c 12544 -ctk q8_0 -ctv q8_0 -fa on"),
    ("llama-bench -m M -d 0-16384+8192 -ub 256,1024 -b 2048 -nkvo 0 -mmp 0", "-c 16896 -ub 1024 -b 2048"),
    ("llama-bench -m M -p 64-1024*4 -n 0 -ts 3/1 -nkvo 1 -ncmoe 2 -sm layer", "-c 1024 -ts 3,1 -nkvo -ncmoe 2 -sm layer"),
    ("llama-bench -m M -ot 'a=CPU;b=CPU' -dev CUDA1/CUDA0 -nopo 1 -embd 0", "-c 512 -ot a=CPU,b=CPU -dev CUDA1,CUDA0 --no-op-offload"),
]  # fmt: skip
# what stands around a command: it is looked through, whatever it is
AROUND = [
    "taskset -c 0-7 llama-server -m M -c 4096",
    "numactl --cpunodebind=0 --membind=0 ./llama-server -m M -c 4096",
    "nohup ./llama-server -m M -c 4096 > server.log 2>&1 &",
    "sudo -E nice -n 5 llama-server -m M -c 4096 2>/dev/null",
    "env LLAMA_ARG_CTX_SIZE=4096 llama-server -m M",
    "cd ~/llama.cpp && ./build/bin/llama-server -m M -c 4096 | tee log.txt",
    "export LLAMA_ARG_CTX_SIZE=4096; ulimit -l unlimited; ./llama-server -m M",
    "podman run --rm -it --device nvidia.com/gpu=all -v /m:/m:Z -p 8080:8080 ghcr.io/ggml-org/llama.cpp:server-cuda -m M -c 4096",
    "podman run -d --name x --env LLAMA_ARG_CTX_SIZE=4096 registry.example.org/me/llama:7 -m M --jinja",
    "docker run --rm --gpus all ghcr.io/ggml-org/llama.cpp:full-cuda --server -m M -c 4096",
    "docker run --rm --entrypoint /app/llama-server example.org/x -m M -c 4096",
    "sudo docker run --gpus=all my/image:1 /app/llama-server -m M -c 4096",
]  # fmt: skip


@pytest.fixture
def ask(capsys, monkeypatch):
    monkeypatch.delenv("LLAMA_ARG_CTX_SIZE", raising=False)

    def call(*words):
        code = run_command_line([*words, "--json"] if "--" not in words else [words[0], "--json", *words[1:]])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


CARDS = ("--gpu", "24GiB", "--gpu", "24GiB")


def test_there_are_forty_of_them():
    assert len(LLAMA) + len(CLI) + len(VLLM) == 40


@pytest.mark.parametrize(("pasted", "own"), LLAMA)
def test_a_line_of_llama_server_is_our_own_options(ask, sparse_model, pasted, own):
    path = str(sparse_model(MOE))
    words = [path if w == "M" else w for w in shlex.split(pasted)]
    answer = ask("memory", *CARDS, "--", *words)
    assert answer[:2] == ask("memory", path, *CARDS, *shlex.split(SERVER), *shlex.split(own))[:2]
    assert answer[1] is not None, answer[2]
    assert "as far as is known" not in answer[2]


@pytest.mark.parametrize(("pasted", "own"), CLI)
def test_a_line_of_llama_cli_is_our_own_options(ask, sparse_model, pasted, own):
    path = str(sparse_model(DENSE))
    words = [path if w == "M" else w for w in shlex.split(pasted)]
    assert ask("memory", *CARDS, "--", *words)[:2] == ask("memory", path, *CARDS, *shlex.split(own))[:2]


@pytest.mark.parametrize(("pasted", "own"), VLLM)
def test_a_line_of_vllm_serve_is_our_own_options(ask, tmp_path, pasted, own):
    (tmp_path / "config.json").write_bytes((CONFIGS / f"{CONFIG}.json").read_bytes())
    words = [str(tmp_path) if w == "M" else w for w in shlex.split(pasted)]
    answer = ask("memory", *CARDS, "--", *words)
    assert answer[:2] == ask("memory", str(tmp_path), "-e", "vllm", *CARDS, *shlex.split(own))[:2]
    assert answer[1] is not None, answer[2]
    assert "as far as is known" not in answer[2]


@pytest.mark.parametrize(("pasted", "own"), MLX)
def test_a_line_of_mlx_lm_is_our_own_options(ask, tmp_path, pasted, own):
    (tmp_path / "config.json").write_bytes((CONFIGS / f"{CONFIG}.json").read_bytes())
    words = [str(tmp_path) if w == "M" else w for w in shlex.split(pasted)]
    answer = ask("memory", "--gpu", "M4 Max 64GB", "-c", "8192", "--", *words)
    assert (
        answer[:2]
        == ask("memory", str(tmp_path), "-e", "mlx", "--gpu", "M4 Max 64GB", "-c", "8192", *shlex.split(own))[:2]
    )
    assert answer[1] is not None, answer[2]
    assert "as far as is known" not in answer[2]


@pytest.mark.parametrize(("pasted", "own"), SGLANG)
def test_a_line_of_sglang_is_our_own_options(ask, tmp_path, pasted, own):
    (tmp_path / "config.json").write_bytes((CONFIGS / f"{CONFIG}.json").read_bytes())
    words = [str(tmp_path) if w == "M" else w for w in shlex.split(pasted)]
    answer = ask("memory", *CARDS, "--", *words)
    assert answer[:2] == ask("memory", str(tmp_path), "-e", "sglang", *CARDS, *shlex.split(own))[:2]
    assert answer[1] is not None, answer[2]
    assert "as far as is known" not in answer[2]


@pytest.mark.parametrize(("pasted", "own"), BENCH)
def test_a_line_of_llama_bench_is_the_context_of_its_largest_test(ask, sparse_model, pasted, own):
    path = str(sparse_model(DENSE))
    words = [path if w == "M" else w for w in shlex.split(pasted)]
    answer = ask("memory", *CARDS, "--", *words)
    assert answer[:2] == ask("memory", path, *CARDS, "-np", "1", "--outputs", "all", *shlex.split(own))[:2]
    assert answer[1] is not None, answer[2]
    assert "as far as is known" not in answer[2]


@pytest.mark.parametrize("pasted", AROUND)
def test_what_stands_around_a_command_changes_nothing(ask, sparse_model, pasted):
    path = str(sparse_model(DENSE))
    own = ask("memory", path, *shlex.split(SERVER), "-c", "4096")[:2]
    code, answer, err = ask("memory", "--", pasted.replace(" M", f" {path}"))
    assert (code, answer) == own, err
    assert "as far as is known" not in err


@pytest.mark.parametrize(
    ("setting", "own"),
    [
        ("CUDA_VISIBLE_DEVICES=0", ["24GiB"]), ("CUDA_VISIBLE_DEVICES=1", ["24GiB"]), ("CUDA_VISIBLE_DEVICES=", ["none"]),
        ("CUDA_VISIBLE_DEVICES=2", ["24GiB", "24GiB"]), ("HIP_VISIBLE_DEVICES=0,1", ["24GiB", "24GiB"]),
    ],
)  # fmt: skip
def test_cards_that_a_command_does_not_see_hold_nothing(ask, sparse_model, setting, own):
    path = str(sparse_model(DENSE))
    words = [w for gpu in own for w in ("--gpu", gpu)]
    answer = ask("memory", "--gpu", "2x24GiB", "--", f"{setting} llama-server -m {path} -c 4096")
    assert answer[1]["lines"] == ask("memory", path, *words, *shlex.split(SERVER), "-c", "4096")[1]["lines"]


def test_numbers_of_unlike_cards_are_not_followed_and_that_is_said(ask, sparse_model):
    path = str(sparse_model(DENSE))
    cards = ["--gpu", "rtx3060", "--gpu", "rtx4090"]
    answer = ask("memory", *cards, "--", f"CUDA_VISIBLE_DEVICES=1 llama-server -m {path} -c 4096")
    assert answer[1]["lines"] == ask("memory", path, *cards, *shlex.split(SERVER), "-c", "4096")[1]["lines"]
    assert "CUDA_VISIBLE_DEVICES=1 is not followed" in answer[2]


def test_an_image_that_is_not_known_is_read_by_its_flags_or_not_at_all(ask, tmp_path):
    (tmp_path / "config.json").write_bytes((CONFIGS / f"{CONFIG}.json").read_bytes())
    line = f"docker run -d --gpus all example.org/serve:1 --model {tmp_path} --max-model-len 4096 --enforce-eager"
    answer = ask("memory", *CARDS, "--", *line.split())
    assert answer[1]["engine"] == "vllm"
    assert "the image example.org/serve:1 is not known: by its flags it starts vllm" in answer[2]
    code, _, err = ask("memory", *CARDS, "--", *f"docker run example.org/serve:1 --frobnicate {tmp_path}".split())
    assert code == 2
    assert "Traceback" not in err


@pytest.fixture
def ollama(tmp_path, files, monkeypatch):
    store = tmp_path / "models"
    tiny = (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes()
    make_stores.ollama_model(store, "plain", tiny)
    make_stores.ollama_model(store, "asks", tiny, params={"num_ctx": 64})
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    for name in ("CONTEXT_LENGTH", "NUM_PARALLEL", "KV_CACHE_TYPE", "FLASH_ATTENTION"):
        monkeypatch.delenv(f"OLLAMA_{name}", raising=False)
    return store


@pytest.mark.parametrize(
    ("pasted", "own"),
    [  # the model was trained for 512 tokens
        ("ollama run plain", "-c 512 -np 1 -b 512 -ub 512"),
        ("ollama run plain:latest 'hello there' --verbose", "-c 512 -np 1 -b 512 -ub 512"),
        ("OLLAMA_CONTEXT_LENGTH=256 ollama run plain", "-c 256 -np 1 -b 256 -ub 256"),
        ("OLLAMA_CONTEXT_LENGTH=256 OLLAMA_NUM_PARALLEL=2 ollama run plain --keepalive 5m", "-c 512 -np 2 -b 256 -ub 256"),
        ("OLLAMA_KV_CACHE_TYPE=BF16 OLLAMA_FLASH_ATTENTION=1 ollama run plain",
         "-c 512 -np 1 -b 512 -ub 512 -ctk bf16 -ctv bf16 -fa on"),
        ("OLLAMA_FLASH_ATTENTION=false ollama run plain", "-c 512 -np 1 -b 512 -ub 512 -fa off"),
        ("OLLAMA_CONTEXT_LENGTH=256 ollama run asks", "-c 64 -np 1 -b 64 -ub 64"),
    ],
)  # fmt: skip
def test_ollama_is_the_llama_server_that_it_starts(ask, ollama, pasted, own):
    name = "asks" if "asks" in pasted else "plain"
    answer = ask("memory", "--", *shlex.split(pasted))
    wanted = ask("memory", f"ollama:{name}", *shlex.split(SERVER), *shlex.split(own))
    assert answer[0] == 0, answer[2]
    assert answer[1] | {"target": ""} == wanted[1] | {"target": ""}
    assert "Ollama starts llama-server with" in answer[2]


def test_ollamas_default_context_goes_by_the_memory_of_all_cards():
    from inspector.cli.pasted.ollama import served

    found = {gpu: served("x", ["--gpu", gpu] if gpu else [], {}).words[4] for gpu in ("", "16GiB", "24GiB", "2x24GiB")}
    assert found == {"": "4096", "16GiB": "4096", "24GiB": "32768", "2x24GiB": "262144"}


def test_ollama_serve_takes_the_model_that_is_named_before_it(ask, ollama):
    answer = ask("memory", "ollama:asks", "--", "OLLAMA_NUM_PARALLEL=2 ollama serve")
    assert (answer[1]["target"], answer[1]["effective"]["n_ctx_seq"]) == ("ollama:asks", 256)
    assert ask("memory", "--", "ollama serve &")[0] == 2


def test_what_is_not_taken_is_said(ask, sparse_model):
    path = str(sparse_model(DENSE))
    line = ["llama-server", "-m", path, "-c", "4096", "--override-kv", "a=int:1", "--frobnicate", "7", "-t", "8"]
    _, _, err = ask("memory", "--", *line)
    assert "llama.cpp has no --frobnicate" in err
    assert "no figure here does: --override-kv" in err
    assert "passed over, no memory depends on them: -t" in err


def test_a_line_may_be_one_word_and_needs_no_dashes(ask, sparse_model):
    path = str(sparse_model(DENSE))
    own = ask("memory", path, *shlex.split(SERVER), "-c", "4096")[:2]
    assert ask("memory", "--", f"llama-server -m {path} \\\n  -c 4096")[:2] == own
    assert ask("memory", "llama-server", "-m", path, "-c", "4096")[:2] == own


def test_fit_takes_them_too(ask, sparse_model):
    path = str(sparse_model(DENSE))
    pasted = ask("fit", "--gpu", "8GiB", "--", *shlex.split(f"llama-server -m {path} -c 8192 -ctk q8_0 -ctv q8_0"))
    assert pasted[:2] == ask("fit", path, "--gpu", "8GiB", "-c", "8192", "-ctk", "q8_0", "-ctv", "q8_0")[:2]
    assert pasted[1]["choices"]


def test_our_own_options_count_more_and_the_model_may_be_ours(ask, sparse_model):
    path = str(sparse_model(DENSE))
    own = ask("memory", path, *shlex.split(SERVER), "-c", "4096")[:2]
    assert ask("memory", path, "-c", "4096", "--", "llama-server", "-m", "/models/there.gguf", "-c", "8192")[:2] == own


def test_the_environment_of_the_shell_counts_and_the_line_counts_more(ask, sparse_model, monkeypatch):
    path = str(sparse_model(DENSE))
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "2048")
    for typed, n in ((), "2048"), (("-c", "4096"), "4096"):
        assert (
            ask("memory", "--", "llama-server", "-m", path, *typed)[:2]
            == ask("memory", path, *shlex.split(SERVER), "-c", n)[:2]
        )


@pytest.mark.parametrize("words", [["--", "-x.gguf"], ["--", "ls", "-l"]])
def test_what_is_no_engine_stays_a_target(ask, words):
    code, _, err = ask("memory", *words)
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "line", ["llama-server", "llama-server -m", "vllm serve", "llama-server -c", "llama-server 'x"]
)
def test_half_a_line_is_a_usage_error(ask, line):
    code, _, err = ask("memory", "--", line + " ")
    assert code == 2
    assert "Traceback" not in err
    assert err.strip()


def test_repositories_are_named_as_the_engines_name_them():
    from inspector.cli.pasted import read_command

    def target(line):
        program, *words = line.split()
        return read_command(program, words, {}).target

    assert target("llama-server -hf ggml-org/gemma-3-4b-it-GGUF:Q8_0 -c 4096") == "ggml-org/gemma-3-4b-it-GGUF:Q8_0"
    assert target("llama-server -hfr a/b --hf-file sub/x.gguf") == "a/b/sub/x.gguf"
    assert target("vllm serve a/b --revision refs/pr/1") == "a/b@refs/pr/1"


def test_a_repositorys_own_projector_is_named_as_not_counted_unless_it_is_turned_off():
    from inspector.cli.pasted import read_command

    words = ["-hf", "a/b"]
    assert any("projector" in x for x in read_command("llama-server", words, {}).uncounted)
    assert not read_command("llama-server", [*words, "--no-mmproj"], {}).uncounted
    assert not read_command("llama-server", [*words, "-mm", "p.gguf"], {}).uncounted


def test_drafts_checkpoints_and_prompt_cache_are_taken_by_memory_and_fit():
    from inspector.cli.fit import fit
    from inspector.cli.memory import memory
    from inspector.cli.pasted import read_command

    line = (
        "-m x.gguf -md d.gguf -mm p.gguf --lora l.gguf -ot a=CPU -ctkd q8_0 --spec-type draft-simple -ctxcp 4 -cram 0"
    )
    found = read_command("llama-server", line.split(), {})
    assert not found.uncounted
    for command in (memory, fit):
        options = {name for p in command.params for name in p.opts}
        assert {w for w in found.words if w.startswith("-")} <= options | {"--server"}
