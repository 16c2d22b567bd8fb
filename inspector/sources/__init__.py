"""Where bytes come from. The readers know only this: a name, a size, and bytes at an offset."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self


class Source:
    """Random access to the bytes of one file; sub-classes read disks, memory or HTTP ranges."""

    name: str
    size: int
    path = ""  # of a file on this machine
    remote = False  # whether hints are of use

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only where the file ends. Raises SourceError."""
        raise NotImplementedError

    def read_some(self, offset: int, least: int, most: int) -> bytes:  # noqa: ARG002 - for sources that hold some already
        """From `least` to `most` bytes from `offset`, as many as cost nothing extra; fewer only where the file ends."""
        return self.read_at(offset, most)

    def expect(self, end: int) -> None:
        """A hint that bytes up to `end` will be asked for soon; a remote source sizes its next request by it."""

    def leap(self, start: int, end: int) -> None:
        """A hint that nothing before `start` will be asked for until another leap, and soon what lies up to `end`."""

    def close(self) -> None:
        """Let go of whatever is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
