"""CD: code that comes with a model: pickles, programs, `auto_map`. Opcodes are read; nothing is run or imported."""

from __future__ import annotations

from inspector.audit.readers.code_scan import examine
from inspector.audit.readers.companions import companions
from inspector.audit.readers.keras import faults_in, is_model
from inspector.audit.readers.pickle_names import is_danger, weigh
from inspector.audit.readers.targets import targets
from inspector.audit.registry import Hit, as_dict, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.audit.readers.findings import Found
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
    picked.sort(key=lambda g: (not is_danger(g), not g.called))
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
    known attack or not. Functions that a model may name are code where they are called. Members of zip and tar
    archives, packed streams, files under any name, other formats and the bytes behind a model are looked into as well.

    Example: a pytorch_model.bin whose data.pkl imports `posix.system`.
    """
    for found in examine(subject):
        names = _named(found, "code")
        if names:
            called = any(g.called and weigh(g) == "code" for g in found.globals)
            yield Hit(found.where, f"{'calls' if called else 'imports'} {_list(names)} when it is loaded")


@rule("CD003", "pickle-weights", severity="info", hint=SAFETENSORS)
def pickle_weights(subject: Subject) -> Iterator[Hit]:
    """
    Weights or training state are stored as a pickle (PyTorch's .bin, .pt, .pth, .ckpt; joblib; training_args.bin).

    Why it matters: a pickle is a program. This one imports nothing but what checkpoints honestly hold, which a
    restricted loader (`torch.load(…, weights_only=True)`) makes sure of once more.
    """
    found = examine(subject)
    classes: dict[str, list[str]] = {}
    pickled: dict[str, None] = {}
    for f in found:
        name = f.where.split(": ", 1)[0]
        if f.kind in {"pickle", "torch"}:
            pickled[name] = None
        classes.setdefault(name, []).extend(_named(f, "class"))
    for name in pickled:
        what = f"; it needs classes of libraries: {_list(classes[name])}" if classes[name] else ""
        yield Hit(name, f"a Python pickle, not just numbers{what}")


def _of_kind(subject: Subject, *kinds: str) -> Iterator[Hit]:
    for found in examine(subject):
        if found.kind in kinds and found.problem:
            yield Hit(found.where, found.problem, severity=found.severity)


@rule("CD004", "pickle-broken", severity="error", hint="download it again, or do without it")
def pickle_broken(subject: Subject) -> Iterator[Hit]:
    """
    A pickle or an archive breaks off, holds instructions that do not exist, or is not what its name promises.

    Why it matters: a broken download does not load. A pickle broken on purpose still does its harm, since its
    instructions run one by one up to the break, while scanners give up at once. Frames that end inside an instruction,
    places in the memo beyond any need and values that repeat themselves without end count as broken. Something else
    under a checkpoint's name is no checkpoint.
    """
    yield from _of_kind(subject, "pickle", "torch", "broken")


@rule("CD005", "program-file", severity="warning", hint="a model needs no program: remove it")
def program_file(subject: Subject) -> Iterator[Hit]:
    """
    A program or a shared library lies among the weights; within an installed Python package it is an info, under a name
    of weights or within a checkpoint an error.

    Why it matters: weights are data. A library here is one path away from being loaded.
    """
    packages = {e.name.rpartition("/")[0] for e in subject.entries if e.name.endswith("__init__.py")}
    for found in examine(subject):
        if found.kind == "program":
            folder = found.where.rpartition("/")[0]
            parents = {folder[:i] for i, c in enumerate(folder + "/") if c == "/"} | {""}
            owned = not parents.isdisjoint(packages) or ".libs/" in found.where
            yield Hit(found.where, found.problem, severity=found.severity or ("info" if owned else ""))


@rule("CD006", "archive-file", severity="error", hint="unpack it elsewhere, if at all, and audit what is in it")
def archive_file(subject: Subject) -> Iterator[Hit]:
    """
    An archive with paths or links that lead out of it, with devices or pipes; one of a kind that is not looked into.

    Why it matters: unpacked carelessly, `../` writes outside its folder, and so does a file behind a link. What is not
    looked into (7-Zip, RAR, Zstandard and others) was not examined.
    """
    for found in examine(subject):
        if found.kind == "escape":
            yield Hit(found.where, f"paths that leave the archive: {found.problem}")
    yield from _of_kind(subject, "archive")


@rule("CD007", "numpy-objects", severity="error", hint="do not load it with allow_pickle=True")
def numpy_objects(subject: Subject) -> Iterator[Hit]:
    """
    A NumPy file holds Python objects instead of numbers.

    Why it matters: objects are stored as a pickle behind the array's header, and `allow_pickle=True` runs it. The
    header is read as NumPy reads it; only types that are known to be numbers or text count as such.
    """
    for found in examine(subject):
        if found.objects:
            yield Hit(found.where, "an array of Python objects, which is a pickle")


@rule("CD008", "keras-code", severity="error", hint="do not load it; ask for weights and a configuration without code")
def keras_code(subject: Subject) -> Iterator[Hit]:
    """
    A Keras model has a layer that is code, or names modules and functions that are not Keras's own.

    Why it matters: a Lambda layer is Python code stored in the file; a `module` of the configuration is imported and
    called while the model is built (CVE-2025-1550, CVE-2025-8747), in some versions in spite of safe_mode. A vocabulary
    given as a path is read from there (CVE-2025-12058): any path in a lookup layer, one that leads out of the folder or
    to an address elsewhere.
    """
    yield from _of_kind(subject, "layer")
    for document in subject.documents.values():  # a model that was saved as a folder
        if is_model(document.value):
            for fault in dict.fromkeys(faults_in(document.value)):
                yield Hit(document.name, fault)


@rule("CD009", "not-read", severity="error", hint="audit it by itself, unpacked")
def not_read(subject: Subject) -> Iterator[Hit]:
    """
    A file that may hold code was not read to its end, because it is larger, deeper or more than this audit looks at.

    Why it matters: what was not read is not vouched for. Honest checkpoints stay far below: 20,000 files in archives,
    256 MiB unpacked, 12 million instructions, archives four deep.
    """
    yield from _of_kind(subject, "unread")


@rule("CD010", "archive-doubt", severity="error", hint="do not load it; get it from its source again")
def archive_doubt(subject: Subject) -> Iterator[Hit]:
    """
    An archive that two readers read differently: two directories, names or sizes that differ, files not listed.

    Why it matters: a scanner sees the one, the loader the other. Python's zipfile trusts the directory, PyTorch's
    reader the last end record, others the files' own headers; an honest archive is the same to all. A warning in
    archives that are no checkpoint by name.
    """
    yield from _of_kind(subject, "doubt")


@rule("CD011", "graph-code", severity="error", hint="do not load it; report the repository")
def graph_code(subject: Subject) -> Iterator[Hit]:
    """
    A graph that reaches beyond its folder: ONNX tensors at other paths, operations that run code or open files.

    Why it matters: the runtime opens whatever path the model names, and PyFunc, ReadFile and WriteFile do as they say.
    TorchScript can save and map files by itself; an XML entity may stand for a file.
    """
    yield from _of_kind(subject, "graph")


@rule("CD012", "loader-target", severity="error", hint="read what it names before you load it, or do not load it")
def loader_target(subject: Subject) -> Iterator[Hit]:
    """
    A configuration names a Python object to import that is no part of a model library.

    Why it matters: hydra's `_target_`, the `type` of sentence-transformers' modules.json, diffusers' component lists
    and YAML's Python tags are imported and called; so are keys and tags of other loaders (`target`, `class_path`,
    `activation_function`, `!new:`), of which only what acts is spoken of. Configurations in archives are read too, and
    texts without YAML's name whose every line YAML may have: hparams, .cfg, .txt; prose about tags is left alone.
    Python's own modules, and functions that load or look up things, are an error; a file of the repository is a
    warning; a package of the author's is an info.
    """
    for target in targets(subject):
        yield Hit(target.where, target.words, severity=target.severity)
    yield from _of_kind(subject, "target")


@rule("CD013", "companion-code", severity="info", hint="read it before you start anything in this folder")
def companion_code(subject: Subject) -> Iterator[Hit]:
    """
    A file beside the weights that Python, an installer or a server runs or obeys by its name.

    Why it matters: sitecustomize.py and lines of a .pth file run at Python's every start (an error); handler.py and its
    like are run by the server (a warning where they start programs), setup.py and conftest.py by an installer or a test
    (said only where they start programs); requirements.txt may name an index of its own (a
    warning); scripts and compiled code run when someone starts them.
    """
    for companion in companions(subject):
        yield Hit(companion.where, companion.words, severity=companion.severity)
    yield from _of_kind(subject, "companion")


@rule("CD014", "r-code", severity="error", hint="do not load it; ask for the numbers in a format of numbers")
def r_code(subject: Subject) -> Iterator[Hit]:
    """
    An R object (.rds, .rda, .RData) with code in it: promises, functions, compiled code, calls that start programs.

    Why it matters: a promise whose value is missing is evaluated as soon as somebody looks at what readRDS or load
    returned (CVE-2024-27322, before R 4.4 without a word). A function of the file's own runs when it is called, which
    predict() does. Objects are walked item by item, in all three ways that R writes them, packed or not; data, models
    of numbers, formulas and the frames of functions that have run are silent. Models that carry functions (glm's link)
    are not told from others: numbers need none.
    """
    yield from _of_kind(subject, "r-code")


@rule("CD015", "data-elsewhere", severity="error", hint="do not load it; ask for a file that holds its own data")
def data_elsewhere(subject: Subject) -> Iterator[Hit]:
    """
    An HDF5 file that reaches for other files: external links, external data, virtual datasets.

    Why it matters: whoever made the file chose which of your files is read as weights (CVE-2026-1669 in Keras), and
    what is read may be sent on. All groups are walked, those of many links too; a group that cannot be followed is said
    (CD009). No model needs this.
    """
    yield from _of_kind(subject, "outside")


@rule("CD016", "not-searched", severity="info", hint="audit it by itself")
def not_searched(subject: Subject) -> Iterator[Hit]:
    """
    A file of a format that is not looked into was not searched to its end for pickles that lie in it.

    Why it matters: databases and messages may hold pickles, which their programs load. 128 MiB of such files are
    searched for calls that attacks use, all files of one audit together, and the end of each; the finding says how much
    was left out.
    """
    yield from _of_kind(subject, "unsearched")
