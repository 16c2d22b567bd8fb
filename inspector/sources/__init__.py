"""Where bytes come from. The readers know only this: a name, a size, and bytes at an offset."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self


class Source:
    """Random access to the bytes of one file; sub-classes read disks, memory or HTTP ranges."""

    name: str
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only where the file ends. Raises SourceError."""
        raise NotImplementedError

    def expect(self, end: int) -> None:
        """A hint that bytes up to `end` will be asked for soon; a remote source sizes its next request by it."""

    def close(self) -> None:
        """Let go of whatever is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
