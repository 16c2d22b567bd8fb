"""S3, Google and Azure by obstore's plain calls, under the few names of fsspec that are used here.

Not by its fsspec layer: that runs in a thread with a loop of its own, and 3 of 40 processes were aborted as they ended
(obstore 0.12, Python 3.11; docs/decisions/0011-clouds-without-a-loop.md).
"""

from __future__ import annotations

from datetime import timedelta

from inspector.sources.http import FIRST_WAIT, LONGEST_WAIT, TRIES  # as patient as with the Hub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class CloudFiles:
    """A cloud's buckets. Paths are `bucket/key`. Raises what obstore raises: FileNotFoundError and its own."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._stores: dict[str, Any] = {}

    def _at(self, path: str) -> tuple[Any, str]:
        """The bucket's store, and the key in it."""
        from obstore.store import from_url

        bucket, _, key = path.strip("/").partition("/")
        if bucket not in self._stores:
            backoff = {"init_backoff": timedelta(seconds=FIRST_WAIT), "max_backoff": timedelta(seconds=8), "base": 2}
            patience: Any = {
                "max_retries": TRIES, "backoff": backoff, "retry_timeout": timedelta(seconds=LONGEST_WAIT),
            }  # fmt: skip
            self._stores[bucket] = from_url(f"{self._scheme}://{bucket}", retry_config=patience)
        return self._stores[bucket], key

    def info(self, path: str) -> Mapping[str, Any]:
        """One object, or a folder where keys begin with its name."""
        import obstore

        store, key = self._at(path)
        if key:
            try:
                return _object(path, obstore.head(store, key))
            except FileNotFoundError:
                if not self.ls(path):
                    raise
        return {"name": path, "size": None, "type": "directory"}

    def ls(self, path: str, *, detail: bool = True) -> list[Mapping[str, Any]]:  # noqa: ARG002 - fsspec's signature
        """A folder's own objects and folders."""
        import obstore

        store, key = self._at(path)
        found = obstore.list_with_delimiter(store, prefix=key or None)
        folders = [{"name": f"{path}/{_last(p)}", "size": 0, "type": "directory"} for p in found["common_prefixes"]]
        return [*folders, *(_object(f"{path}/{_last(o['path'])}", o) for o in found["objects"])]

    def cat_file(self, path: str, *, start: int, end: int) -> bytes:
        """Bytes from `start` to before `end`, in one request."""
        return self.cat_tagged(path, start=start, end=end)[0]

    def cat_tagged(self, path: str, *, start: int, end: int) -> tuple[bytes, str | None]:
        """The same, and the ETag of the object that they are of."""
        import obstore

        store, key = self._at(path)
        found = obstore.get(store, key, options={"range": (start, end)})
        return bytes(found.bytes()), found.meta.get("e_tag")


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _object(path: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    stamps = {"e_tag": meta.get("e_tag"), "last_modified": meta.get("last_modified")}
    return {"name": path, "size": meta["size"], "type": "file", **stamps}
