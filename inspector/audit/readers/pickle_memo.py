"""What a pickle remembers, by number: the newest values as they are, what is older in few bytes.

A vocabulary of a million words is remembered word by word, and Python's own unpickler holds it all; a few bytes an
entry are enough to know a name again.
"""

from __future__ import annotations

from array import array
from itertools import islice

from inspector.audit.readers.pickle_values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

RECENT: Final = 1 << 14
MAX_NAME: Final = 1 << 13  # of a text that is written down: what is longer is no name, and stays
MAX_ENTRIES: Final = 8_000_000
MAX_VALUES: Final = 2_500_000  # containers, which take more
_ABSENT, _NOTHING, _TEXT, _VALUE = range(4)


class Memo:
    """Values by number. `below`: another reader's, which this one sees and does not change."""

    def __init__(self, below: Memo | None = None) -> None:
        self.below = below
        self.new: dict[int, Any] = {}
        self.n: int = below.n if below is not None else 0
        self._old = array("q")  # what an entry is in its last two bits, and where
        self._texts = bytearray()
        self._values: list[Any] = []
        self._n_old, self._most = 0, MAX_ENTRIES

    def get(self, index: int) -> Any:
        """What is remembered under a number; None where nothing is."""
        value = self.new.get(index, self)
        return value if value is not self else self._older(index)

    def put(self, index: int, value: Any) -> bool:
        """Remembers a value; False where that would be more than are remembered."""
        new = self.new
        if index not in new and ((index >= self._n_old and self.below is None) or not self.is_old(index)):
            self.n += 1
        new[index] = value
        if len(new) > 2 * RECENT:
            self._settle()
        return self.n <= self._most

    def is_old(self, index: int) -> bool:
        """Whether something was remembered under a number, and is not new."""
        if index < self._n_old and self._old[index] != _ABSENT:
            return True
        return self.below is not None and (index in self.below.new or self.below.is_old(index))

    def _older(self, index: int) -> Any:
        code = self._old[index] if index < self._n_old else _ABSENT
        kind, at = code & 3, code >> 2
        if kind == _VALUE:
            return self._values[at]
        if kind == _TEXT:
            end = at + 2 + int.from_bytes(self._texts[at : at + 2], "little")
            return self._texts[at + 2 : end].decode("utf-8", "surrogatepass")
        return self.below.get(index) if kind == _ABSENT and self.below is not None else None

    def _settle(self) -> None:
        """The older half of what is new becomes old."""
        new, old, texts = self.new, self._old, self._texts
        moved = list(islice(new.items(), RECENT))
        most = max(index for index, _ in moved)
        if most >= self._n_old:
            old.frombytes(bytes(8 * (most + 1 - self._n_old)))
            self._n_old = most + 1
        at = len(texts)
        for index, value in moved:
            del new[index]
            if type(value) is str and len(value) < MAX_NAME:
                raw = value.encode("utf-8", "surrogatepass")
                old[index] = at << 2 | _TEXT
                texts += len(raw).to_bytes(2, "little") + raw
                at += len(raw) + 2
            else:
                old[index] = _NOTHING if value is None else self._kept(value)
        if len(self._values) > MAX_VALUES:
            self._most = 0

    def _kept(self, value: Any) -> int:
        if type(value) is Value:
            value.forget()
        self._values.append(value)
        return (len(self._values) - 1) << 2 | _VALUE
