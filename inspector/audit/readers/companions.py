"""Files beside the weights that Python, an installer or a server runs or obeys by their names."""

from __future__ import annotations

import ast
import re
import warnings

from inspector.errors import InspectorError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.subject.records import Entry, Subject

MAX_SCRIPT: Final = 1 << 18
MOST_SCRIPTS: Final = 200
# What imports these: Python's own start; TorchServe, Inference Endpoints, SageMaker, Triton; torch.hub, diffusers.
_START: Final = frozenset({"sitecustomize.py", "usercustomize.py"})
_SERVED: Final = frozenset({"handler.py", "inference.py", "hubconf.py", "pipeline.py", "custom_handler.py"})
# What an installer or a test runs; imported with the folder as a package. Most are harmless, and not spoken of.
_RUN_IF: Final = frozenset({"setup.py", "conftest.py", "__init__.py", "__main__.py"})
_LIST: Final = re.compile(r"(?:requirements|constraints)[\w.-]*\.txt")
_TOO_LONG: Final = "not read: longer than a file that is run like this has any reason to be"
_RUNNABLE: Final = {
    ".sh": "a shell script", ".bash": "a shell script", ".bat": "a Windows script", ".cmd": "a Windows script",
    ".ps1": "a PowerShell script", ".vbs": "a Windows script", ".pyc": "compiled Python", ".wasm": "WebAssembly",
    ".jar": "Java classes", ".class": "a Java class", ".pyz": "a Python program",
}  # fmt: skip
_ACTING: Final = re.compile(
    r"os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*)|subprocess\.\w+|pty\.\w+|eval|exec|__import__|compile|"
    r"importlib\.import_module|(?:os|subprocess|builtins|sys)\.__dict__|__builtins__(\.\w+)*|"
    r"ctypes\.\w+(\.\w+)*|socket\.socket|(pickle|marshal|dill)\.loads?|builtins\.\w+|runpy\.\w+"
)
_ALL_OF: Final = frozenset({"os", "subprocess", "pty", "ctypes", "builtins"})
# An index of one's own names decides what is installed under any name; these are the projects' own.
_INDEXES: Final = frozenset(
    {"pypi.org", "files.pythonhosted.org", "download.pytorch.org", "pypi.nvidia.com", "pypi.ngc.nvidia.com",
     "data.pyg.org", "wheels.vllm.ai"}
)  # fmt: skip
_OPTION: Final = re.compile(
    # pip takes any beginning of a long option, and a short one without a space
    r"^\s*(?:--(?:i\w*|index-[\w-]*|ex[\w-]*|f[\w-]*|tr[\w-]*)(?:\s+|=)|-[if]\s*|-[rc]\s*(?=\w+:))(?P<index>\S+)",
    re.MULTILINE,
)
_DIRECT: Final = re.compile(r"^\s*(?![#\s])[^\n#]*?(?P<url>(?:\w+\+)?https?://\S+)", re.MULTILINE)


class Companion(Record):
    """One file that is run or obeyed: where, what, how bad."""

    where: str
    words: str
    severity: str


def _read(subject: Subject, entry: Entry) -> str:
    """The start of a text file; "" where it cannot be read, which is a finding elsewhere."""
    try:
        with subject.open_source(entry.name) as source:
            return source.read_at(0, MAX_SCRIPT + 1 if source.read_at(0, 1024).count(b"\0") == 0 else 1).decode(
                "utf-8", "replace"
            )
    except (InspectorError, KeyError):
        return ""


def _calls(text: str) -> tuple[str, ...]:
    """Calls in a script that start programs or run what they are given."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    names: dict[str, str] = {}
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                          for a in node.names})  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
            if node.module in _ALL_OF and any(a.name == "*" for a in node.names):
                found[f"{node.module}.*"] = None
    for node in ast.walk(tree):
        named = node.func if isinstance(node, ast.Call) else node if isinstance(node, ast.Attribute) else None
        if named is not None and (name := _dotted(named)):  # os.system is one to whom it is given, called or not
            first, dot, rest = name.partition(".")
            whole = names.get(first, first) + dot + rest
            if _ACTING.fullmatch(whole):
                found[whole] = None
    return tuple(found)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *parts[::-1]]) if isinstance(node, ast.Name) else ""


def _script(where: str, base: str, text: str) -> Iterator[Companion]:
    if base in _START:
        yield Companion(where, "Python runs it at every start from this folder", "error")
        return
    # a package that looks up its own parts starts nothing
    calls = tuple(c for c in _calls(text) if base not in _RUN_IF or c != "importlib.import_module")
    words = f", and it calls {', '.join(calls[:5])}" if calls else ""
    if base in _RUN_IF and not calls:
        return
    by = "an installer or a test runs it" if base in _RUN_IF else "a server or loader runs it"
    yield Companion(where, by + words, "warning" if calls else "info")


def _path_file(where: str, text: str) -> Iterator[Companion]:
    """Lines that Python's site module reads at its start: those that begin with import are run."""
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith(("import ", "import\t")):
            yield Companion(where, f"Python's start runs a line of it: {line[:100]!r}", "error")
            return


def _requirements(where: str, text: str) -> Iterator[Companion]:
    text = re.sub(r"\\\r?\n", " ", text)
    for match in _OPTION.finditer(text):
        host = re.sub(r"^\w+://(?:[^/@]*@)?", "", match["index"]).split("/")[0].split(":")[0].lower()
        if host not in _INDEXES:
            yield Companion(where, f"packages come from {match['index'][:120]}", "warning")
    for match in _DIRECT.finditer(text):
        if not _OPTION.match(match[0]):
            yield Companion(where, f"a package comes from {match['url'][:120]}", "info")


def is_wanted(base: str) -> bool:
    """Whether a file of this name is run or obeyed, and its text says how bad that is."""
    return base in _START | _SERVED | _RUN_IF or base.endswith(".pth") or _LIST.fullmatch(base) is not None


def of_text(where: str, base: str, text: str, *, served: bool = False) -> Iterator[Companion]:
    """What is said of one file by its name and text; `served`: whether any script of its folder may be a handler."""
    if base.endswith(".py"):
        if is_wanted(base) or (served and _calls(text)):
            yield from _script(where, base, text)
    elif base.endswith(".pth"):
        yield from _path_file(where, text)
    elif _LIST.fullmatch(base):
        yield from _requirements(where, text)


def companions(subject: Subject) -> Iterator[Companion]:
    """What lies beside the weights and is run or obeyed: single files first, then scripts by their kinds."""
    kinds: dict[str, list[str]] = {}
    n = 0
    for entry in subject.entries:
        base = entry.name.rpartition("/")[2].lower()
        if entry.kind != "file" or entry.name.startswith(".git/"):
            continue
        suffix = base[base.rfind(".") :] if "." in base else ""
        if suffix in _RUNNABLE:
            kinds.setdefault(_RUNNABLE[suffix], []).append(entry.name)
        if not is_wanted(base) or (not entry.path and base not in _START):
            continue
        n += 1
        if n > MOST_SCRIPTS:
            yield Companion(entry.name, f"not read, as {MOST_SCRIPTS} files of its kind are before it", "warning")
            break
        text = _read(subject, entry)
        if len(text) > MAX_SCRIPT:
            yield Companion(entry.name, _TOO_LONG, "error" if suffix == ".pth" else "warning")
        elif suffix != ".pth" or "\0" not in text:  # a checkpoint
            yield from of_text(entry.name, base, text)
    for words, names in kinds.items():
        more = f", with {len(names) - 1:,} more files of its kind" if len(names) > 1 else ""
        yield Companion(names[0], f"{words}, which runs when it is started{more}", "info")
