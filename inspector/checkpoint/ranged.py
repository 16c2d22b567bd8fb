"""Files that are not on this machine, read by ranges, several at a time: what the Hub and other stores share."""

from __future__ import annotations

from inspector.checkpoint.documents import INDEX_SUFFIX
from inspector.checkpoint.folder import open_config, open_joined, open_listing
from inspector.checkpoint.gather import Gathering, open_entries, read_documents
from inspector.checkpoint.listing import Entry, Listing
from inspector.checkpoint.quants import Model
from inspector.checkpoint.records import Checkpoint
from inspector.errors import NotFound
from inspector.formats import read
from inspector.formats.gguf import read_like
from inspector.formats.gguf_like import stretch_of
from inspector.formats.modelfile import ModelFile
from inspector.sources.parallel import in_order
from inspector.stores.names import role_of
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Final, TypeVar

    from inspector.formats.gguf_like import Stretch

    T = TypeVar("T")
    R = TypeVar("R")

# First ranges. A GGUF's vocabulary begins within kilobytes and says how much is to come; later parts have none.
# A safetensors header of a dense model takes a few kilobytes; a shard's is guessed by another's.
FIRST_GGUF: Final = 1 << 20
FIRST_PART: Final = 64 << 10
FIRST_SAFETENSORS: Final = 16 << 10
FIRST_SHARD: Final = 12 << 10
# Read with safetensors weights, where they are listed: what facts are made from.
_CONFIGS: Final = ("config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json")
_PIPELINES: Final = ("model_index.json", "modules.json")


class RangedGathering(Gathering):
    """`first`: bytes of a shard's first range once another shard's header is known; `folder`: what names start with.

    `like`: of the first of several quants, what the others will repeat; children share it.
    """

    folder = ""

    def __init__(self, target: str, *, strict: bool) -> None:
        super().__init__(target, strict=strict)
        self.first: int | None = None
        self.like: list[Stretch] = []

    def absent(self, name: str) -> NotFound:
        """The error that a listing has no such file."""
        return NotFound(f"{self.target}: no file {name}")

    def load(self, listing: Listing, quant: str | None = None) -> None:
        read_documents(listing, self, needed_documents(listing, quant))

    def read_header(self, entry: Entry) -> ModelFile:
        if self.like and entry.name.lower().endswith(".gguf"):
            with self.open(entry) as source:
                return read_like(source, self.like[0]) or read(source, strict=self.strict)
        return super().read_header(entry)

    def first_range(self, entry: Entry) -> int:
        """Bytes of a file's first range."""
        if entry.name.lower().endswith(".gguf"):
            split = split_name(entry.name)
            if split and split[1] > 1:
                return FIRST_PART
            return self.like[0].first_nbytes if self.like else FIRST_GGUF
        return self.first or (FIRST_SHARD if split_name(entry.name) else FIRST_SAFETENSORS)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """All at once; of many shards the middle one first, which tells how long the others' headers will be.

        Of several quants the first one before the others, which repeat its vocabulary.
        """
        rest = list(items)
        if len(rest) > 1 and isinstance(rest[0], Model):
            first = work(rest.pop(0))
            if isinstance(first, Checkpoint) and first.files and self.strict and (like := stretch_of(first.files[0])):
                self.like.append(like)
            yield first
        shards = [x for x in rest if isinstance(x, Entry) and x.name.lower().endswith(".safetensors")]
        if len(shards) < 4:
            yield from in_order(work, rest)
            return
        middle = len(rest) // 2
        typical = work(rest.pop(middle))
        if isinstance(typical, ModelFile):
            # shards differ in how many tensors they hold: half as many more again are still one request
            self.first = typical.header_bytes * 3 // 2 + 256
        others = in_order(work, rest)
        for i in range(len(items)):
            yield typical if i == middle else next(others)


def _complete_by_names(entries: list[Entry]) -> bool:
    """Whether shards are all parts 1 to N of one N: then an index could only repeat it."""
    splits = {split for e in entries if (split := split_name(e.name))}
    return len(splits) == len(entries) > 0 and {(s[0], s[2]) for s in splits} == {(min(splits)[0], len(entries))}


def needed_documents(listing: Listing, quant: str | None = None) -> set[str]:
    """Which of the listed documents say something that the weights do not: none, where a GGUF will be read."""
    own = [e for e in listing.root if role_of(e.name) == "weights" and e.name.lower().endswith(".safetensors")]
    ggufs = any(role_of(name) == "weights" and name.lower().endswith(".gguf") for name in listing.entries)
    if quant is not None or (ggufs and not own):
        return set()
    wanted = {*_CONFIGS, *_PIPELINES}
    if not own:
        wanted.add("adapter_config.json")
    if not _complete_by_names(own):
        wanted |= {name for name in listing.entries if name.endswith(INDEX_SUFFIX)}
    return wanted & listing.entries.keys()


def open_named(name: str, quant: str | None, listing: Listing, gathering: RangedGathering) -> Checkpoint:
    """One file of a listing (with its other parts), or one folder. Raises as `open_listing`."""
    entry = listing.entries.get(name)
    if entry is None:
        below = listing.below(name)
        if not below.entries:
            raise gathering.absent(name)
        gathering.folder = name + "/"
        gathering.load(below, quant)
        return open_listing(below, gathering, quant)
    folder, _, base = name.rpartition("/")
    if folder:
        gathering.folder, listing = folder + "/", listing.below(folder)
        entry = listing.entries[base]
    if base.lower().endswith(".json"):
        if not base.endswith(INDEX_SUFFIX) and base not in {"adapter_config.json", *_PIPELINES}:
            return open_config(entry, gathering)
        gathering.load(listing)
        return open_listing(listing, gathering)
    return _open_one(entry, listing, gathering)


def _open_one(entry: Entry, listing: Listing, gathering: RangedGathering) -> Checkpoint:
    """A weights file, by what its name says it is, with its other parts where it is one of several."""
    lower = entry.name.lower()
    if lower.endswith(".safetensors"):
        siblings = [e for e in listing.root if e.name.lower().endswith(".safetensors")]
        split = split_name(entry.name)
        parts = [e for e in siblings if split and (s := split_name(e.name)) and (s[0], s[2]) == (split[0], split[2])]
        others = {e.name: e for e in listing.root if e not in siblings} | {e.name: e for e in parts or [entry]}
        gathering.load(Listing("", others, ()))
        return open_joined(entry, "safetensors", listing, gathering) or open_entries([entry], gathering)
    if lower.endswith(".gguf") and split_name(entry.name):
        return open_joined(entry, "gguf", listing, gathering) or open_entries([entry], gathering)
    return open_entries([entry], gathering)
