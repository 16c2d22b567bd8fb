"""What stands on a pickle's stack, as far as it matters: texts, numbers, imports, containers and how much they hold."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MARK: Final = object()
FORGOTTEN: Final[list[Any]] = []  # the items of a container that was remembered long ago
MOST_ITEMS: Final = 64  # of a container that are remembered
# A value that names itself over and over: parts when written out, and how many an instruction makes. A list of 20,000
# references to one list of 20,000 has 10,000.
MOST_PARTS: Final = 1 << 24
PARTS_PER_OP: Final = 10_000


class Global(Record):
    """An object that a pickle asks Python to import. `called`: and to call."""

    module: str
    name: str
    offset: int
    called: bool = False

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


class Value:
    """A container, or what a call makes: its first items, how many parts it has when written out, its state.

    `of`: what was called to make it; None for a plain container.
    """

    __slots__ = ("items", "keys", "of", "parts", "state")

    def __init__(self, items: list[Any] | None = None, of: Global | None = None) -> None:
        self.items = items or []
        self.keys: dict[str, Any] | None = None
        self.of = of
        self.state: Any = None
        self.parts = 1
        for item in self.items:
            self.parts += item.parts if type(item) is Value else 1
        del self.items[MOST_ITEMS:]

    def add(self, values: list[Any]) -> None:
        """More items of a list or set."""
        for v in values:
            self.parts += v.parts if type(v) is Value else 1
        if len(self.items) < MOST_ITEMS and self.items is not FORGOTTEN:
            self.items += values[: MOST_ITEMS - len(self.items)]

    def put(self, pairs: list[Any]) -> None:
        """Keys and values of a dict, in turn."""
        for v in pairs:
            self.parts += v.parts if type(v) is Value else 1
        if self.items is FORGOTTEN:
            return
        if self.keys is None:
            self.keys = {}
        for key, value in zip(pairs[: 2 * MOST_ITEMS : 2], pairs[1 : 2 * MOST_ITEMS : 2], strict=False):
            if isinstance(key, str) and len(self.keys) < MOST_ITEMS:
                self.keys[key] = value

    def forget(self) -> None:
        """Keeps how large it is and what made it, and no more; types of arrays stay as they are."""
        if self.of is None or self.of.name != "dtype":
            self.items, self.keys, self.state = FORGOTTEN, None, None


class RawArray(Record):
    """An array that joblib writes as it is behind its description: its bytes, or that it is a pickle again.

    `aligned`: a byte before it says how many bytes of padding follow.
    """

    nbytes: int
    objects: bool
    aligned: bool


def _plain_dtype(value: Any) -> tuple[int, bool] | None:
    """Bytes an element and whether it holds objects, of `numpy.dtype(…)` as it is pickled; None where it is not."""
    if type(value) is not Value or not value.items or not isinstance(value.items[0], str):
        return None
    if type(value.state) is Value and value.state.items is FORGOTTEN:
        return None
    text = value.items[0].lstrip("<>=|")
    state = value.state.items if type(value.state) is Value else []
    letter, digits = text[:1], text[1:]
    if letter == "O":
        return 8, True
    if not digits.isdigit() or len(digits) > 12 or letter not in "?bBhHiIlLqQfdgcSaUVmMu":
        return None
    n = int(digits) * (4 if letter == "U" else 1)
    if letter != "V":
        return n, False
    # numpy/_core/src/multiarray/descriptor.c, arraydescr_reduce: (version, order, subarray, names, fields, elsize, …)
    below = state[2:5]
    return n, any(_holds_objects(part, 0) for part in below)


def _holds_objects(value: Any, depth: int) -> bool:
    """Whether a dtype's description has an object anywhere in it, or is too deep to tell."""
    if type(value) is not Value:
        return False
    if depth > 8 or value.items is FORGOTTEN:
        return True
    if value.of is not None and value.of.name == "dtype":
        own = _plain_dtype(value)
        return own is None or own[1]
    parts = [*value.items, *(value.keys or {}).values()]
    return len(parts) >= MOST_ITEMS or any(_holds_objects(part, depth + 1) for part in parts)


def raw_array(value: Any) -> RawArray | None:
    """What joblib reads behind the wrapper that was just built, or None where the description is not understood.

    joblib 1.5 numpy_pickle.py, NumpyArrayWrapper.read_array.
    """
    state = value.state.keys if type(value.state) is Value else None
    if state is None or type(state.get("shape")) is not Value:
        return None
    dims = state["shape"].items
    dtype = _plain_dtype(state.get("dtype"))
    if (
        dtype is None
        or dims is FORGOTTEN
        or len(dims) >= MOST_ITEMS
        or not all(type(d) is int and d >= 0 for d in dims)
    ):
        return None
    n = dtype[0]
    for d in dims:
        n *= d
    return RawArray(n, dtype[1], type(state.get("numpy_array_alignment_bytes")) is int)
