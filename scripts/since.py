"""Since which build llama.cpp's sources have a text: the first sdist of the index that has it, by halving.

    python scripts/since.py src/llama-arch.cpp llm_arch_supports_mixed_batch
    python scripts/since.py src/llama-model.cpp 'PATTERN' --first 9509 --last 11434

The index has every few builds, so a rule that a text stands for changed between the last sdist without it and the first
with it: `since` in our tables is that first one. A text that comes and goes again is not for this script.
"""

from __future__ import annotations

import argparse
import re
import tarfile
from functools import cache
from pathlib import Path

import engines


@cache
def text_of(build: int, path: str, folder: Path) -> str:
    """A file of a build's sources; "" where that has none of this name."""
    archive = engines.fetched("llamacpp", f"{build}.0.0", folder)
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.split("/", 1)[-1] == f"llama.cpp/{path}":
                found = tar.extractfile(member)
                return found.read().decode(errors="replace") if found else ""
    return ""


def since(path: str, pattern: str, builds: list[int], folder: Path) -> tuple[int | None, int | None]:
    """(the last build without the text, the first with it); None where there is no such build among these."""
    low, high = -1, len(builds)
    while high - low > 1:
        middle = (low + high) // 2
        if re.search(pattern, text_of(builds[middle], path, folder)):
            high = middle
        else:
            low = middle
    return builds[low] if low >= 0 else None, builds[high] if high < len(builds) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="a file of llama.cpp's tree")
    parser.add_argument("pattern", help="a regular expression")
    parser.add_argument("--first", type=int, default=9509)
    parser.add_argument("--last", type=int, default=11434)
    parser.add_argument("--cache", type=Path, default=engines.CACHE)
    options = parser.parse_args()
    numbers = sorted(int(v.split(".")[0]) for v in engines.versions("llamacpp"))
    builds = [n for n in numbers if options.first <= n <= options.last]
    without, first = since(options.path, options.pattern, builds, options.cache)
    print(f"since b{first}; not in b{without}")


if __name__ == "__main__":
    main()
