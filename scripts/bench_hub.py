"""What a header costs over the network: requests, bytes and seconds, beside other readers, on a loopback Hub.

    bench_hub.py [--delay SECONDS] [--hf-mem PATH]

Requests count redirects; bytes are what the servers wrote as bodies; seconds are of whole processes, 50 ms added to
each request. hf-mem asks huggingface.co wherever it is told to ask: it runs through a wrapper that patches its address.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hub_models import long_gguf, shards  # noqa: E402
from hub_server import HubServer  # noqa: E402

SMOLLM2 = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
METADATA = "import sys; from huggingface_hub import get_safetensors_metadata as f; f(sys.argv[1])"
# hf_mem 0.5.6 writes the Hub's address into its source: every request is sent to ours instead.
HF_MEM = """
import os, sys
import httpx2 as httpx
send = httpx.AsyncClient.send
async def redirected(self, request, **options):
    text = str(request.url)
    if text.startswith("https://huggingface.co"):
        request.url = httpx.URL(text.replace("https://huggingface.co", os.environ["HF_ENDPOINT"], 1))
        request.headers["host"] = request.url.netloc.decode()
    return await send(self, request, **options)
httpx.AsyncClient.send = redirected
from hf_mem.cli import main
sys.argv = ["hf-mem", *sys.argv[1:]]
main()
"""


class Figure(NamedTuple):
    """One process: how it ended, what it asked and what it was sent."""

    code: int
    requests: int
    nbytes: int
    seconds: float


def measure(hub: HubServer, argv: list[str], home: str) -> Figure:
    """Run once to the end, the cache empty."""
    shutil.rmtree(home, ignore_errors=True)
    env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": home, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    hub.forget()
    start = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode and done.stderr:
        print(f"  {argv[-1]}: {done.stderr.strip().splitlines()[-1][:150]}", file=sys.stderr)
    return Figure(done.returncode, hub.n_requests, hub.body_bytes, seconds)


def models() -> dict[str, dict[str, Any]]:
    """name → files of a repository."""
    found: dict[str, dict[str, Any]] = {}
    if SMOLLM2.exists():
        found["SmolLM2 Q4_1 GGUF"] = {SMOLLM2.name: SMOLLM2}
    found["GGUF, 262k tokens"] = {"model.gguf": long_gguf(262_144, 0)}
    found["GGUF, 128k tokens, 280k merges"] = {"model.gguf": long_gguf(128_256, 280_147)}
    found["30 shards, 720 tensors"] = shards(30, 24, shape=(2, 2))
    found["163 shards, 90,139 tensors"] = shards(163, 553, shape=(2, 2))
    return found


def commands(files: dict[str, Any], hf_mem: str | None) -> dict[str, list[str]]:
    """reader → its command line, for the readers that can read these files."""
    rows = {"inspector": [sys.executable, "-m", "inspector", "show", "org/model"]}
    gguf = next((name for name in files if name.endswith(".gguf")), None)
    if gguf is None:
        rows["get_safetensors_metadata"] = [sys.executable, "-c", METADATA, "org/model"]
    if hf_mem is not None:
        which = ["--gguf-file", gguf] if gguf else []
        rows["hf-mem"] = [hf_mem, "-c", HF_MEM, "--model-id", "org/model", *which]
    return rows


def header_bytes(hub: HubServer, home: str) -> int:
    """What our reader says the headers take."""
    env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": home, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "inspector", "show", "org/model", "--json"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    return sum(int(file["header_nbytes"]) for file in json.loads(done.stdout)["files"])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds added to each request (default 0.05)")
    parser.add_argument("--hf-mem", metavar="PYTHON", help="a Python that has hf-mem 0.5.6 installed")
    args = parser.parse_args(argv)
    print(f"{'':<32}{'reader':<26}{'requests':>9}{'bytes':>13}{'× header':>10}{'seconds':>9}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        home = os.path.join(folder, "hf")
        for name, files in models().items():
            with HubServer(files) as hub:
                header = header_bytes(hub, home)
                hub.delay = args.delay
                for reader, command in commands(files, args.hf_mem).items():
                    figure = measure(hub, command, home)
                    failed |= reader == "inspector" and figure.code != 0
                    words = "" if figure.code == 0 else f"  exit code {figure.code}"
                    print(
                        f"{name:<32}{reader:<26}{figure.requests:>9}{figure.nbytes:>13,}"
                        f"{figure.nbytes / header:>10.2f}{figure.seconds:>9.2f}{words}",
                        flush=True,
                    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
