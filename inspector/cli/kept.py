"""What `list` gathers: every model of some roots, what its header says, which are the same, what could be freed."""

from __future__ import annotations

import os

from inspector.errors import FactsError, InspectorError
from inspector.record import Record
from inspector.report.records import KeptRow, SameContent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.stores.records import FoundModel, Store

CHUNK: Final = 4 << 20
MIN_NBYTES: Final = 1 << 20  # below that, equal sizes say nothing


class Place(Record):
    """A root: what store it is, and where."""

    store: Store
    path: str


def places(roots: Sequence[str], environ: Mapping[str, str]) -> list[Place]:
    """The roots that were named; where none was, the stores of this machine that are there, each once."""
    from inspector.stores.places import known_places

    if roots:
        return [Place("folder", root) for root in roots]
    found: dict[str, Place] = {}
    for store, path in known_places(environ):
        if os.path.isdir(path):
            found.setdefault(os.path.realpath(path), Place(store, path))
    return list(found.values())


def gather(place: Place, opened: Callable[[str], Checkpoint], say: Callable[[str], None] | None) -> Iterator[KeptRow]:
    """A row for everything in a place, in its order; several at a time where that is not this machine.

    Raises SourceError where it cannot be looked into.
    """
    from inspector.stores.walk import find_models

    found = find_models(place.path)

    def read(model: FoundModel) -> KeptRow:
        if say is not None:
            say(f"{place.path}: {model.name}")
        return _row(model, place, opened)

    if "://" not in place.path:
        yield from map(read, found)
        return
    from inspector.sources.parallel import in_order

    yield from in_order(read, list(found))


def _row(found: FoundModel, place: Place, opened: Callable[[str], Checkpoint]) -> KeptRow:
    row = KeptRow(
        target=found.target, name=found.name, store=place.store if found.store == "folder" else found.store,
        root=place.path, role=found.role, nbytes=found.nbytes, paths=found.paths, sha256=found.sha256,
        error=found.error or None,
    )  # fmt: skip
    return _read(row, found, opened) if found.role == "model" else row


def _read(row: KeptRow, found: FoundModel, opened: Callable[[str], Checkpoint]) -> KeptRow:
    """The row with what the model's header says; what cannot be read is its error."""
    from inspector.facts import read_facts

    if found.error and not found.nbytes:
        return row
    try:
        checkpoint = opened(found.target)
    except InspectorError as error:
        return row.replace(error=found.error or _short(str(error), found))
    row = row.replace(error=found.error or _lacking(checkpoint))
    try:
        facts = read_facts(checkpoint)
    except FactsError:  # well-formed, and of a kind that says less: that is no defect
        return row.replace(quant=_quant(checkpoint, None))
    except InspectorError as error:
        return row.replace(error=row.error or _short(str(error), found))
    n_ctx = (checkpoint.keeping.n_ctx if checkpoint.keeping else None) or facts.n_ctx_train
    return row.replace(
        arch=facts.arch, quant=_quant(checkpoint, facts), n_params=facts.n_params, n_ctx=n_ctx,
        kv_nbytes=_cache(facts, n_ctx),
    )  # fmt: skip


def _short(message: str, found: FoundModel) -> str:
    return message.removeprefix(f"{found.target}: ").removeprefix(f"{os.path.basename(found.target)}: ")


def _lacking(checkpoint: Checkpoint) -> str | None:
    if checkpoint.missing:
        n = len(checkpoint.missing)
        return f"{n:,} of its files {'is' if n == 1 else 'are'} missing: {checkpoint.missing[0]}"
    if checkpoint.missing_nbytes:
        return f"cut short: {checkpoint.missing_nbytes:,} bytes are missing"
    return None


def _quant(checkpoint: Checkpoint, facts: ModelFacts | None) -> str | None:
    """What a GGUF's name or key claims, else its commonest type; of safetensors the scheme, else the commonest type."""
    if checkpoint.format == "gguf":
        from inspector.quantization.labels import quant_label

        label = quant_label(checkpoint)
        return label.claimed or label.actual.partition(",")[0] or None
    if facts is not None and (facts.quantization or facts.dtype):
        return facts.quantization or facts.dtype
    sums: dict[str, int] = {}
    for t in checkpoint.tensors:
        name = t.dtype.name if t.dtype else t.dtype_name
        sums[name] = sums.get(name, 0) + t.n_elements
    return max(sums, key=lambda name: sums[name]) if sums else None


def _cache(facts: ModelFacts, n_ctx: int | None) -> int | None:
    from inspector.memory.cache import KV_DTYPES, sum_caches

    if not n_ctx or not facts.layers:
        return None
    f16 = KV_DTYPES["f16"]
    found = sum_caches(facts.layers, n_ctx, dtype_k=f16, dtype_v=f16)
    return None if found.unknown_layers else found.nbytes


# --- contents


def inode(path: str) -> tuple[int, ...] | str:
    """What a file on the disk is known by, under whatever name."""
    try:
        found = os.stat(path)
    except OSError:
        return path
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def distinct_nbytes(rows: Iterable[KeptRow]) -> int:
    """Bytes of the rows' files, each file on the disk counted once."""
    sizes: dict[tuple[int, ...] | str, int] = {}
    for row in rows:
        if not row.paths:  # not on this machine
            sizes[row.target] = row.nbytes
        for path in row.paths:
            if (key := inode(path)) not in sizes:
                sizes[key] = _size(path)
    return sum(sizes.values())


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def hashed(rows: Sequence[KeptRow], say: Callable[[str], None] | None) -> list[KeptRow]:
    """The rows with the sha256 of those whose size another has too; a file that cannot be read has none."""
    sizes: dict[int, int] = {}
    for row in rows:
        sizes[row.nbytes] = sizes.get(row.nbytes, 0) + 1
    return [
        row.replace(sha256=_hash(row.paths[0], say))
        if row.sha256 is None and len(row.paths) == 1 and sizes[row.nbytes] > 1 and row.nbytes
        else row
        for row in rows
    ]


def _hash(path: str, say: Callable[[str], None] | None) -> str | None:
    import hashlib

    from inspector.sources.local import LocalSource
    from inspector.units import format_nbytes

    found, at = hashlib.sha256(), 0
    try:
        with LocalSource(path) as source:
            while chunk := source.read_at(at, CHUNK):
                found.update(chunk)
                at += len(chunk)
                if say is not None:
                    say(f"hashing {path}: {format_nbytes(at)} of {format_nbytes(source.size)}")
    except InspectorError:
        return None
    return found.hexdigest()


def same_contents(rows: Sequence[KeptRow]) -> list[SameContent]:
    """Models that hold the same: surely where hashes say so, else perhaps, where their one file has the same size."""
    sure: dict[str, list[KeptRow]] = {}
    perhaps: dict[int, list[KeptRow]] = {}
    for row in rows:
        if row.sha256:
            sure.setdefault(row.sha256, []).append(row)
        if len(row.paths) == 1 and row.nbytes >= MIN_NBYTES and not row.error:
            perhaps.setdefault(row.nbytes, []).append(row)
    found = [_group(group, sure=True) for group in sure.values() if len(group) > 1]
    known = {target for group in found for target in group.targets}
    for group in perhaps.values():
        told_apart = known.issuperset(row.target for row in group) or all(row.sha256 for row in group)
        if len(group) > 1 and not told_apart:
            found.append(_group(group, sure=False))
    return sorted((g for g in found if g.freed_nbytes), key=lambda g: -g.freed_nbytes)


def _group(rows: Sequence[KeptRow], *, sure: bool) -> SameContent:
    """One group; copies that are one file on the disk (links) free nothing."""
    files = {inode(path): _size(path) for row in rows for path in row.paths[:1]}
    sizes = sorted(files.values())
    return SameContent(rows[0].nbytes, tuple(row.target for row in rows), sum(sizes[1:]), sure)
