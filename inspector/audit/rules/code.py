"""CD: code that comes with a model: pickles, programs, `auto_map`. Opcodes are read; nothing is run or imported."""

from __future__ import annotations

from inspector.audit.readers.code_scan import examine
from inspector.audit.readers.pickle_names import is_known_danger, weigh
from inspector.audit.registry import Hit, as_dict, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.audit.readers.code_scan import Found
    from inspector.audit.subject.records import Document, Subject

MOST_NAMED: Final = 6
SAFETENSORS = "use the safetensors version, or convert it in a sandbox"
_CODE_KEYS: Final = ("auto_map", "custom_pipelines")


@rule("CD001", "remote-code", severity="warning", hint="read the Python files before you allow trust_remote_code")
def remote_code(subject: Subject) -> Iterator[Hit]:
    """
    A configuration names Python code of its own (`auto_map`, custom pipelines).

    Why it matters: with `trust_remote_code` the named file is imported and runs. The finding names the files and
    whether they are here; a reference with `--` fetches them from another repository, which can change at any time.
    """
    names = subject.names()
    for document in subject.documents.values():
        folder = document.name.rpartition("/")[0]
        references = sorted(set(_references(document)))
        if references:
            words = ", ".join(_place(r, folder, names) for r in references[:MOST_NAMED])
            more = f" and {len(references) - MOST_NAMED} more" if len(references) > MOST_NAMED else ""
            yield Hit(document.name, f"asks for its own code: {words}{more}")
    for name in sorted(n for n in names if n.endswith("custom_generate/generate.py")):
        yield Hit(name, "its own generation loop, which runs with trust_remote_code")


def _references(document: Document) -> Iterator[str]:
    """`file.Class` strings under auto_map and custom_pipelines, also of nested configurations."""
    level: list[Any] = [document.value]
    for _ in range(3):
        below: list[Any] = []
        for value in level[:200]:
            for key, part in as_dict(value).items():
                if key in _CODE_KEYS:
                    yield from _strings(part)
                elif isinstance(part, dict):
                    below.append(part)
        level = below


def _strings(part: Any) -> Iterator[str]:
    stack = [part]
    for _ in range(500):
        if not stack:
            return
        value = stack.pop()
        if isinstance(value, str) and ("." in value or "--" in value):
            yield value
        elif isinstance(value, list):
            stack += value[:100]
        elif isinstance(value, dict):
            stack += [v for k, v in list(value.items())[:100] if k not in {"pt", "tf", "default", "type"}]


def _place(reference: str, folder: str, names: set[str]) -> str:
    """Which file a reference means, and whether it is here."""
    repo, _, path = reference.rpartition("--")
    module = path.rsplit(".", 1)[0][:100]
    if repo:
        return f"{module}.py from {repo[:100]}"
    file = f"{folder}/{module}.py" if folder else f"{module}.py"
    return f"{module}.py" if file in names else f"{module}.py (not here)"


def _named(found: Found, *kinds: str) -> list[str]:
    """The imports of these kinds, those that attacks use first."""
    picked = [g for g in found.globals if weigh(g) in kinds]
    picked.sort(key=lambda g: (not is_known_danger(g), not g.called))
    return [g.path[:120] for g in picked]


def _list(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - MOST_NAMED} more" if len(unique) > MOST_NAMED else ""
    return ", ".join(unique[:MOST_NAMED]) + more


@rule("CD002", "pickle-code", severity="error", hint="do not load it; report the repository")
def pickle_code(subject: Subject) -> Iterator[Hit]:
    """
    A pickle imports something that weights do not need.

    Why it matters: unpickling calls whatever the file names: `os.system`, `builtins.eval`, a function hidden in a
    library. Anything outside the containers, tensors and arrays that PyTorch's own restricted loader takes is an error,
    known attack or not. Members of zip and tar archives and packed streams are looked into as well.

    Example: a pytorch_model.bin whose data.pkl imports `posix.system`.
    """
    for found in examine(subject):
        names = _named(found, "code")
        if names:
            called = any(g.called and weigh(g) == "code" for g in found.globals)
            yield Hit(found.where, f"{'calls' if called else 'imports'} {_list(names)} when it is loaded")


@rule("CD003", "pickle-weights", severity="warning", hint=SAFETENSORS)
def pickle_weights(subject: Subject) -> Iterator[Hit]:
    """
    Weights or training state are stored as a pickle (PyTorch's .bin, .pt, .pth, .ckpt; joblib; training_args.bin).

    Why it matters: a pickle is a program. This one imports nothing harmful that can be seen, but only a restricted
    loader (`torch.load(…, weights_only=True)`) makes sure of it.
    """
    seen: set[str] = set()
    for found in examine(subject):
        name = found.where.split(": ", 1)[0]
        if found.kind not in {"pickle", "torch"} or name in seen:
            continue
        seen.add(name)
        classes = [c for f in examine(subject) if f.where.split(": ", 1)[0] == name for c in _named(f, "class")]
        what = f"; it needs classes of libraries: {_list(classes)}" if classes else ""
        yield Hit(name, f"a Python pickle, not just numbers{what}")


@rule("CD004", "pickle-broken", severity="error", hint="download it again, or do without it")
def pickle_broken(subject: Subject) -> Iterator[Hit]:
    """
    A pickle or an archive of one breaks off, holds instructions that do not exist, or cannot be examined to its end.

    Why it matters: a broken download does not load. A pickle broken on purpose still does its harm, since its
    instructions run one by one up to the break, while scanners give up at once.
    """
    for found in examine(subject):
        if found.kind in {"pickle", "torch", "broken"} and found.problem:
            if any(g.path == "joblib.numpy_pickle.NumpyArrayWrapper" for g in found.globals):
                words = "arrays in joblib's own layout: the instructions behind them were only searched"
                yield Hit(found.where, words, severity="warning")
            else:
                yield Hit(found.where, found.problem)


@rule("CD005", "program-file", severity="warning", hint="a model needs no program: remove it")
def program_file(subject: Subject) -> Iterator[Hit]:
    """
    A program or a shared library lies among the weights.

    Why it matters: weights are data. A library here is one path away from being loaded.
    """
    for found in examine(subject):
        if found.kind == "program":
            yield Hit(found.where, found.notes[0])


@rule("CD006", "archive-file", severity="warning", hint="unpack it elsewhere and audit what is in it")
def archive_file(subject: Subject) -> Iterator[Hit]:
    """
    An archive that cannot be looked into, another within it, or one whose paths lead out of it.

    Why it matters: what it holds was not examined; unpacked carelessly, `../` writes outside its folder.
    """
    for found in examine(subject):
        if found.kind == "archive" and found.problem:
            what = f": {', '.join(found.notes)}" if found.notes else ""
            yield Hit(found.where, found.problem + what)


@rule("CD007", "numpy-objects", severity="error", hint="do not load it with allow_pickle=True")
def numpy_objects(subject: Subject) -> Iterator[Hit]:
    """
    A NumPy file holds Python objects instead of numbers.

    Why it matters: objects are stored as a pickle behind the array's header, and `allow_pickle=True` runs it.
    """
    for found in examine(subject):
        if found.objects:
            yield Hit(found.where, "an array of Python objects, which is a pickle")


@rule("CD008", "keras-lambda", severity="warning", hint="load it with safe_mode=True, or not at all")
def keras_lambda(subject: Subject) -> Iterator[Hit]:
    """
    A Keras model has a Lambda layer.

    Why it matters: the layer is Python code, stored in the file and run when it is loaded without safe mode.
    """
    for found in examine(subject):
        if found.kind == "keras":
            yield Hit(found.where, found.notes[0])
