"""llama-bench's command line in our words: each test is a context of its own, and the largest counts.

Names, defaults and what a context is made of: tools/llama-bench/llama-bench.cpp of llama.cpp b11434 (parse_cmd_params,
parse_int_range, get_cmd_params_instances, to_llama_cparams): `-p` and `-n` are tests apart, `-pg` is one of both, and
`-d` tokens are there before each.
"""

from __future__ import annotations

import re

from inspector.cli.pasted.records import Flag, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

# fmt: off
TAKEN: Final = """
-m --model= -> target
-hf -hfr --hf-repo= -> repo
-hff --hf-file= -> file
-p --n-prompt= -> p
-n --n-gen= -> n
-pg= -> pg
-d --n-depth= -> d
-b --batch-size= -> -b
-ub --ubatch-size= -> -ub
-ctk --cache-type-k= -> -ctk
-ctv --cache-type-v= -> -ctv
-ngl --n-gpu-layers= -> -ngl
-ncmoe --n-cpu-moe= -> -ncmoe
-sm --split-mode= -> -sm
-mg --main-gpu= -> -mg
-nkvo --no-kv-offload= -> -nkvo
-fa --flash-attn= -> -fa
-dev --device= -> -dev
-lm --load-mode= -> --load-mode
-ts --tensor-split= -> -ts
-ot --override-tensor= -> -ot
-nopo --no-op-offload= -> --no-op-offload
-embd --embeddings= -> --embeddings
"""
# Memory depends on these, and no figure here does.
UNCOUNTED: Final = """
-rpc --rpc=
-fitt --fit-target=
-fitc --fit-ctx=
-lzm --lazy-mode=
--no-host=
--repack=
"""
# No memory that is counted here depends on these.
HARMLESS: Final = """
-h --help
--version
--numa=
-r --repetitions=
--prio=
--delay=
-o --output=
-oe --output-err=
--list-devices
-v --verbose
--progress
--no-warmup
-hft --hf-token=
--offline
-t --threads=
-C --cpu-mask=
--cpu-strict=
--poll=
-mmp --mmap=
-dio --direct-io=
"""
# fmt: on
FLAGS: Final = flags_of(taken=TAKEN, uncounted=UNCOUNTED, harmless=HARMLESS)

_TESTS: Final = ("p", "n", "pg", "d")
_SWITCHES: Final = ("-nkvo", "--no-op-offload", "--embeddings")
_LARGEST: Final = ("-b", "-ub")
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+)(?:([+*])(\d+))?)?")
_MOST: Final = 10_000  # values of one range


def _reached(text: str) -> Iterator[int]:
    """The values of `512`, `0-32768+4096`, `1-64*2`, several with commas."""
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            continue
        value, last = int(found[1][:10]), int((found[2] or found[1])[:10])
        by, step = found[3] or "+", int((found[4] or "1")[:10])
        for _ in range(_MOST):
            if value > last:
                break
            yield value
            after = value + step if by == "+" else value * step
            if after <= value:
                break
            value = after


def _first(ours: str, value: str) -> str:
    """The first of several values; lists of devices and shares are written with `/` here."""
    first = value.partition(",")[0]
    if ours == "-ot":
        return first.replace(";", ",")
    return first.replace("/", ",").replace(";", ",") if ours in {"-dev", "-ts"} else first


def in_our_words(flag: Flag, name: str, value: str) -> list[str]:  # noqa: ARG001 - as other engines' are called
    """Options of ours that say what a flag says; what tests are made of is put together by `settled`."""
    ours = flag.ours
    if ours in _TESTS:
        return [ours, value]
    if ours in _LARGEST:
        return [ours, str(max(_reached(value), default=0))]
    first = _first(ours, value)
    if ours in _SWITCHES:
        return [ours] if first in {"1", "true", "on"} else []
    return [ours, first]


def settled(words: list[str]) -> tuple[list[str], list[str]]:
    """(our words, with the context of the largest test; words about values that were left out)."""
    asked: dict[str, list[str]] = {name: [] for name in _TESTS}
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _TESTS:
            asked[word].append(rest.pop(0))
        else:
            kept.append(word)
    prompts = [n for text in asked["p"] or ["512"] for n in _reached(text)]
    made = [n for text in asked["n"] or ["128"] for n in _reached(text)]
    both = [sum(_reached(text)) for text in asked["pg"]]
    depth = max((n for text in asked["d"] for n in _reached(text)), default=0)
    largest = max((*prompts, *made, *both), default=0)
    context = ["-c", str(largest + depth)] if largest else []
    said = [f"the largest of its tests counts: {largest + depth:,} tokens"] if largest else ["it runs no test"]
    return ["-np", "1", "--outputs", "all", *context, *kept], said


def several(name: str, flag: Flag, value: str) -> str:
    """Words where a flag has several values of which the first counts."""
    alone = flag.ours in {*_TESTS, *_LARGEST} or "," not in value or not flag.ours
    return "" if alone else f"{name} {value}: the first counts"
