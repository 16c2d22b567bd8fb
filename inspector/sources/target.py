"""What the user typed, taken apart: a path that exists wins, else a repository on the Hub, else an address.

Paths of Windows (`C:\\models\\x.gguf`, `C:x`, `\\\\server\\share\\x`) are paths on every system: no name on the Hub has
a backslash, and no organisation or scheme is a single letter before a colon.

Forms: `org/name[@revision][:QUANT][/file]`, `hf://[models/]…`, `hf.co/…`, pasted huggingface.co addresses
(blob, resolve, tree, raw; `%2F` and `refs/pr/N` in revisions), https addresses of model files and of folders that their
server lists, and addresses of any other store (`s3://bucket/folder[:QUANT]`).
"""

from __future__ import annotations

import os

from inspector.errors import InspectorError, NotFound
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_HOSTS: Final = ("huggingface.co", "www.huggingface.co", "hf.co")
_FILE_SUFFIXES: Final = (".gguf", ".safetensors", ".json", ".bin", ".pt", ".pth", ".ckpt")
_NAME_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST: Final = 2048
_VIEWS: Final = ("blob", "resolve", "tree", "raw")


class Target(Record):
    """What was asked for. `kind`: local, hub, url, remote or stored.

    local: `path`, and `quant` for one of several models in a folder. hub: `repo` ("org/name"), and where given
    `revision`, `quant` and `file` (a path in the repository; a folder when a tree was pasted). url: `url`.
    remote: `url`, an address that fsspec understands, and `quant` for one of several models of a folder there.
    stored: `repo`, a model's name in the store that lies at `path` ("": this user's Ollama).
    """

    text: str
    kind: str
    path: str = ""
    repo: str = ""
    revision: str | None = None
    quant: str | None = None
    file: str | None = None
    url: str = ""


def _shown(text: str) -> str:
    """The text as it can stand in a message: short, and with nothing in it that a terminal would obey."""
    clean = text if text.isprintable() else repr(text)[1:-1]
    return clean if len(clean) <= 120 else clean[:117] + "…"


def parse_target(text: str, *, endpoint: str | None = None) -> Target:
    """Take a TARGET apart. `endpoint`: another Hub's address, whose pasted addresses are understood as well.

    Raises NotFound for what looks like a path and is none (with near matches as a hint), InspectorError for what has
    no form that is known.
    """
    if text and os.path.lexists(text):
        return Target(text, "local", path=text)
    if len(text) > _LONGEST:
        raise InspectorError(f"not a target: {len(text):,} characters")
    if not text.strip() or not text.isprintable():
        raise NotFound(f"{_shown(text) or 'an empty name'}: no such file")
    folder, colon, quant = text.rpartition(":")
    on_drive = len(folder) == 1 and os.path.splitdrive(text)[0]  # `C:x` is a file of drive C, not of a folder C
    if colon and folder and not on_drive and not {"/", "\\"}.intersection(quant) and os.path.isdir(folder):
        return Target(text, "local", path=folder, quant=quant)
    if _is_windows_path(text):
        return _no_such_path(text)
    return _parse_address(text, endpoint) or _parse_repo(text) or _no_such_path(text)


def _is_windows_path(text: str) -> bool:
    """Whether a text has a drive's letter in front, or two slashes before a server's name."""
    drive = text[1:2] == ":" and text[0].isascii() and text[0].isalpha()
    return drive or text.startswith(("\\\\", "//"))


def _hosts(endpoint: str | None) -> tuple[str, ...]:
    if not endpoint:
        return _HOSTS
    return (*_HOSTS, endpoint.partition("://")[2].strip("/") or endpoint)


def _parse_address(text: str, endpoint: str | None) -> Target | None:
    """`hf://…`, `https://…` and addresses pasted without their scheme."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        host, slash, path = text.partition("/")
        return _parse_web(text, path) if slash and host.lower() in _HOSTS else None
    scheme = scheme.lower()
    if scheme == "hf":
        return _parse_suffixed(text, rest.removeprefix("models/"), bare=True)
    if scheme not in {"http", "https"}:
        return _parse_remote(text, scheme, rest)
    for host in _hosts(endpoint):
        if rest.lower().startswith(host.lower() + "/"):
            return _parse_web(text, rest[len(host) + 1 :])
    return _parse_server(text, scheme, rest)


def _parse_server(text: str, scheme: str, rest: str) -> Target:
    """An address of any web server: a file of weights, or a folder (`https://host/folder/`, `…/folder:QUANT`)."""
    path = rest.partition("#")[0].partition("?")[0]
    if path.lower().endswith((".gguf", ".safetensors")):
        return Target(text, "url", url=text)
    if path == rest and path.strip("/"):
        found = _parse_remote(text, scheme, rest)
        if found.quant or path.endswith("/"):
            return found
    raise InspectorError(
        f"{_shown(text)}: not the address of a model",
        hint="give a .gguf or .safetensors file, a page of the Hub, or a folder with its / at the end",
    )


def _parse_remote(text: str, scheme: str, rest: str) -> Target:
    """An address of another store: `s3://bucket/folder[:QUANT]`; `file:///path` is the path."""
    if not scheme.replace("+", "").replace("-", "").isalnum() or not rest.strip("/"):
        raise InspectorError(f"{_shown(text)}: not the address of a file or folder")
    if scheme in {"file", "local"}:
        path = _unquote(rest)
        if os.path.lexists(path):
            return Target(text, "local", path=path)
        return _no_such_path(path)
    front, _, last = rest.rpartition("/")
    _, colon, quant = last.rpartition(":")
    if not (front and colon and quant and all(c in _NAME_CHARS for c in quant)):
        return Target(text, "remote", url=text)
    return Target(text, "remote", url=text[: -len(quant) - 1], quant=quant)


def _unquote(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    if not (plain := unquote(text)).isprintable():
        raise InspectorError(f"{_shown(text)}: not a name")
    return plain


def _parse_web(text: str, path: str) -> Target:
    """The part of a Hub address after its host: `org/name`, `org/name/tree/REV/FOLDER`, `org/name:QUANT`."""
    path = path.partition("#")[0].partition("?")[0].strip("/")
    parts = path.removeprefix("api/models/").removeprefix("models/").split("/")
    if parts[0] in {"datasets", "spaces", "collections", "docs", "papers"}:
        raise InspectorError(f"{_shown(text)}: a page about {parts[0]}, not a model")
    view = next((i for i in (1, 2) if len(parts) > i + 1 and parts[i] in _VIEWS), None)
    if view is None:
        return _parse_suffixed(text, path, bare=True)
    repo = _checked_repo(text, "/".join(parts[:view]))
    revision, rest = _split_revision(parts[view + 1 :])
    return Target(text, "hub", repo=repo, revision=revision, file=_checked_file(text, "/".join(map(_unquote, rest))))


def _split_revision(parts: list[str]) -> tuple[str, list[str]]:
    """A revision has no "/" except as %2F, or when it is a reference spelled out: refs/pr/7, refs/convert/parquet."""
    n = 3 if parts[0] == "refs" and len(parts) >= 3 else 1
    return "/".join(_unquote(part) for part in parts[:n]), parts[n:]


def _parse_repo(text: str) -> Target | None:
    """`org/name…` without a scheme; None for what is rather a path."""
    if text[0] in "./\\~" or "\\" in text:
        return None
    first, _, rest = text.partition("/")
    if not rest or (rest.count("/") == 0 and text.lower().endswith(_FILE_SUFFIXES)):
        return None
    if rest.count("/") and text.lower().endswith(_FILE_SUFFIXES) and os.path.isdir(first):
        return None
    return _parse_suffixed(text, text, bare=False)


def _first_of(text: str, marks: str) -> int:
    return min((i for i in map(text.find, marks) if i >= 0), default=len(text))


def _parse_suffixed(text: str, rest: str, *, bare: bool) -> Target:
    """`org/name[@revision][:QUANT][/file]`; `bare`: a name without an organisation will do (gpt2)."""
    org, slash, tail = rest.partition("/")
    if _first_of(org, "@:") < len(org) or not slash:
        org, tail = "", rest  # no organisation: the first part already carries a suffix
    end = _first_of(tail, "@:/")
    name, tail = tail[:end], tail[end:]
    repo = _checked_repo(text, f"{org}/{name}" if org else name, bare=bare)
    revision = quant = None
    if tail.startswith("@"):
        revision, tail = _take_revision(tail[1:])
    if tail.startswith(":"):
        end = _first_of(tail, "/")
        quant, tail = tail[1:end], tail[end:]
    if revision == "" or quant == "" or (tail and tail[0] != "/"):
        raise InspectorError(f"{_shown(text)}: not a model's name", hint="org/name[@revision][:QUANT][/file]")
    return Target(text, "hub", repo=repo, revision=revision, quant=quant, file=_checked_file(text, tail.strip("/")))


def _take_revision(tail: str) -> tuple[str, str]:
    parts = tail.split("/")
    if parts[0] == "refs" and len(parts) >= 3:
        end = _first_of(parts[2], ":")
        return f"refs/{parts[1]}/{parts[2][:end]}", tail[len(f"refs/{parts[1]}/") + end :]
    end = _first_of(tail, ":/")
    return _unquote(tail[:end]), tail[end:]


def _is_name(part: str) -> bool:
    """Letters, digits, "-", "_" and ".", the first and last being neither "-" nor "."."""
    return bool(part) and _NAME_CHARS.issuperset(part) and part[0] not in "-." and part[-1] not in "-."


def _checked_repo(text: str, repo: str, *, bare: bool = True) -> str:
    """Rules of repository names: huggingface_hub's `validate_repo_id`."""
    parts = repo.split("/")
    sound = 1 <= len(parts) <= 2 and all(_is_name(part) for part in parts)
    if (
        not sound
        or len(repo) > 96
        or ".." in repo
        or "--" in repo
        or repo.endswith(".git")
        or (len(parts) == 1 and not bare)
    ):
        raise NotFound(
            f"{_shown(text)}: neither a file here nor a model's name",
            hint=_near_hint(text) or "org/name[@revision][:QUANT][/file]",
        )
    return repo


def _checked_file(text: str, path: str) -> str | None:
    parts = path.replace("\\", "/").split("/")  # the file may be looked up on a disk where both divide folders
    if path and (any(part in {"", ".", ".."} for part in parts) or path[1:2] == ":"):
        raise InspectorError(f"{_shown(text)}: not a path in a repository")
    return path or None


def near_names(text: str, names: Iterable[str]) -> list[str]:
    """Up to three of `names` that someone who typed `text` may have meant."""
    from difflib import get_close_matches

    folded = {name.lower(): name for name in names}
    return [folded[match] for match in get_close_matches(text.lower(), folded, n=3, cutoff=0.6)]


def _near_hint(text: str) -> str | None:
    folder, name = os.path.split(text.rstrip("/" + os.sep))
    if len(name) > 255:
        return None
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for _, entry in zip(range(2000), entries, strict=False)]
    except (OSError, ValueError):
        return None
    matches = near_names(name, names)
    return "did you mean " + " or ".join(_shown(os.path.join(folder, m)) for m in matches) + "?" if matches else None


def _no_such_path(text: str) -> Target:
    raise NotFound(f"{_shown(text)}: no such file or folder", hint=_near_hint(text))
