"""The machine that follows a pickle: its stack, its memo, and what it was asked to import. Its steps: `pickles.py`."""

from __future__ import annotations

from inspector.audit.readers.pickle_memo import Memo
from inspector.audit.readers.pickle_stream import EndOfStream, Reader
from inspector.audit.readers.pickle_values import MARK, MOST_PARTS, PARTS_PER_OP, Global, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Final

# PyTorch writes 32 a tensor, a vocabulary of a million words has three million.
MAX_OPS: Final = 12_000_000
MAX_STACK: Final = 1_000_000
MAX_MARKS: Final = 200_000  # values within values that are not finished
MAX_DROPPED: Final = 100_000  # picklers drop a value for a tuple that holds itself, and for nothing else
MAX_AGAIN: Final = 1_000  # instructions to remember directly behind another one: the same value twice
MAX_GLOBALS: Final = 2_000
MAX_SEARCHED_ALL: Final = 24 << 20  # of payloads, for instructions
PROTO, STOP = 0x80, ord(".")


class Broken(Exception):
    """Not a pickle, or no longer one."""


class Machine:
    """One pickle after the other, over one reader, with one allowance of instructions.

    `plain`: arrays between instructions are no business of this reader.
    """

    steps: ClassVar[dict[int, Callable[[Machine, int], None]]] = {}

    def __init__(self, reader: Reader, *, budget: int = MAX_OPS, depth: int = 0) -> None:
        self.reader = reader
        self.most = budget
        self.dropped = self.again = 0
        self.put_at = -1
        self.depth = depth
        self.n_ops = 0
        self.proto = 0
        self.found: dict[tuple[str, str], Global] = {}
        self.magic = False
        self.searched = MAX_SEARCHED_ALL
        self.plain = False
        self.doubted: set[tuple[str, str]] = set()
        self.reset()

    def reset(self) -> None:
        self.stack: list[Any] = []
        self.memo = Memo()
        self.frame_end = -1
        self.marks = 0

    @property
    def left(self) -> int:
        """Instructions that may still be followed."""
        return self.most - self.n_ops

    def pop(self) -> Any:
        if not self.stack:
            raise Broken("takes more from its stack than there is")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        stack = self.stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is MARK:
                items = stack[i + 1 :]
                del stack[i:]
                self.marks -= 1
                return items
        raise Broken("takes more from its stack than there is")

    def drop(self) -> None:
        """Counts a value that is thrown away, or doubled."""
        self.dropped += 1
        if self.dropped > MAX_DROPPED:
            raise Broken("throws away value after value, which no pickler writes")

    def mark(self) -> None:
        self.marks += 1
        if self.marks > MAX_MARKS:
            raise Broken("piles up more values than a checkpoint has")
        self.stack.append(MARK)

    def push(self, value: Any) -> None:
        self.stack.append(value)
        if len(self.stack) > MAX_STACK:
            raise Broken("piles up more values than a checkpoint has")

    def weigh(self, value: Value) -> None:
        """Refuses a value that is small here and endless when written out, hashed or copied."""
        if value.parts > MOST_PARTS and value.parts > PARTS_PER_OP * self.n_ops:
            raise Broken(f"{self.n_ops:,} instructions make a value of more than {MOST_PARTS:,} parts")

    def memoize(self) -> None:
        """Remembers the last value under the next number."""
        self._put(self.memo.n)

    def remember(self, index: int) -> None:
        if index > 2 * self.n_ops + 1000:
            raise Broken(f"place {index:,} of its memo, which no pickle needs: room for all before it is set aside")
        self._put(index)

    def _put(self, index: int) -> None:
        if self.n_ops - self.put_at == 1:
            self.again += 1
        self.put_at = self.n_ops
        if self.again > MAX_AGAIN or (self.stack and not self.memo.put(index, self.stack[-1])):
            raise Broken("remembers more values than a checkpoint has")

    def note(self, module: Any, name: Any, offset: int) -> Global:
        known = isinstance(module, str) and isinstance(name, str)
        found = Global(module if known else "?", name if known else "?", offset)
        self.found.setdefault((found.module, found.name), found)
        if len(self.found) > MAX_GLOBALS:
            raise Broken(f"more than {MAX_GLOBALS:,} different imports")
        return found

    def called(self, value: Any) -> None:
        if isinstance(value, Global):
            key = (value.module, value.name)
            if key in self.found and not self.found[key].called:
                self.found[key] = self.found[key].replace(called=True)

    def merge(self, other: Machine) -> None:
        """What another machine found and spent."""
        self.n_ops += other.n_ops
        for key, g in other.found.items():
            if key not in self.found or g.called:
                self.found[key] = g

    def run(self) -> None:
        """One pickle up to its STOP. Raises EndOfStream and Broken."""
        self.reset()
        self.go_on()

    def go_on(self) -> None:
        reader, steps = self.reader, self.steps
        while True:
            self.n_ops = n = self.n_ops + 1
            if n > self.most:
                raise Broken(f"more than {MAX_OPS:,} instructions: the rest was only searched")
            pos = reader.pos
            if pos >= len(reader.buf):
                if not reader.fill(1):
                    raise EndOfStream
                pos = reader.pos
            op = reader.buf[pos]
            reader.pos = pos + 1
            if op == STOP:
                if not self.stack:
                    raise Broken("ends with nothing on its stack")
                return
            step = steps.get(op)
            if step is None:
                raise Broken(f"an instruction that does not exist (0x{op:02x} at byte {reader.offset - 1:,})")
            step(self, op)
            if self.frame_end >= 0 and reader.start + reader.pos >= self.frame_end:
                if reader.offset > self.frame_end:
                    raise Broken(f"a frame ends within an instruction at byte {self.frame_end:,}: readers disagree")
                self.frame_end = -1
