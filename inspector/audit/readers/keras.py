"""What a Keras model asks Python for when it is built: layers that are code, modules that are not Keras's own.

keras/src/saving/serialization_lib.py 3.11; CVE-2024-3660 (Lambda), CVE-2025-1550 (any module), CVE-2025-8747
(functions of keras.utils), CVE-2025-49655 (TorchModuleWrapper), CVE-2025-12058 (vocabularies read from paths).
"""

from __future__ import annotations

import builtins
import json
import re

from inspector.audit.readers.hdf5 import NotRead, root_attributes
from inspector.checkpoint.shards import not_beside, unsafe_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.sources import Source

MAX_CONFIG: Final = 16 << 20
MAX_PATH: Final = 255  # what is longer is a vocabulary itself
MAX_PARTS: Final = 1_000_000
MAX_OBJECTS: Final = 300_000  # of a JSON text: some 300 bytes each once they are read
MAX_SEARCHED: Final = 256 << 20
_CODE_LAYERS: Final = frozenset({"Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"})
_OWN: Final = ("keras", "tensorflow.keras", "tf_keras", "tensorflow.python.keras", "keras_nlp", "keras_hub",
               "keras_cv", "tensorflow_addons", "tensorflow_hub", "builtins")  # fmt: skip
# Where the functions of layers come from: activations, losses and metrics; elsewhere functions act.
_FUNCTIONS: Final = re.compile(
    r"(tensorflow\.|tf_|tensorflow\.python\.)?keras(_nlp|_hub|_cv)?\.(src\.)?"
    r"(\w+\.)?(activations|losses|metrics|initializers|regularizers|constraints|ops|random)(\.[\w.]+)?"
)
_UTILITIES: Final = re.compile(
    r"(tensorflow\.|tf_|tensorflow\.python\.)?keras\.(src\.)?(utils|models|saving|export|config)(\.[\w.]+)?"
)
# A function of the user's own is "builtins" by its module as well: only Python's names are told apart.
_PYTHONS_OWN: Final = frozenset(dir(builtins)) - {"function"}
# Layers that read a vocabulary given as text from the path that it is; and keys under which others are given paths.
_LOOKUPS: Final = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"})
_PATH_KEYS: Final = ("vocabulary", "vocabulary_file", "vocab_file", "merges", "merges_file", "idf_weights", "proto")


def is_model(value: Any) -> bool:
    """Whether a JSON document is a Keras model's configuration, as to_json and model.save write it."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("class_name"), str) and ("config" in value or "module" in value)


def faults_in(value: Any) -> Iterator[str]:
    """What is code, or names code, in a configuration."""
    stack = [value]
    for _ in range(MAX_PARTS):
        if not stack:
            return
        part = stack.pop()
        if isinstance(part, list):
            stack += part
        elif isinstance(part, dict):
            stack += part.values()
            yield from _of_object(part)
    yield "more parts than are looked at: the rest was not read"


def _of_object(part: dict[str, Any]) -> Iterator[str]:
    name, module, config = part.get("class_name"), part.get("module"), part.get("config")
    last = name.rsplit(">", 1)[-1].rsplit(".", 1)[-1] if isinstance(name, str) else ""
    if part.get("function_type") == "lambda":
        yield "a lambda, which is code"
    if last in _CODE_LAYERS:
        yield f"a layer of the class {last}, which is code"
    if last == "__lambda__" or (last == "function" and isinstance(config, dict) and "code" in config):
        yield "a lambda, which is code"
    if isinstance(module, str) and isinstance(name, str):
        top = module.partition(".")[0]
        own = any(module == m or module.startswith(m + ".") for m in _OWN)
        is_function = name == "function" or (isinstance(config, str) and "registered_name" in part)
        if not own:
            yield f"{module[:80]}.{(config if isinstance(config, str) else name)[:80]}, which is not Keras's own"
        elif is_function and isinstance(config, str) and not _FUNCTIONS.fullmatch(module) and top != "builtins":
            yield f"the function {module[:80]}.{config[:80]}, which is no activation, loss or metric"
        elif top == "builtins" and (called := config if is_function else name) in _PYTHONS_OWN:
            yield f"builtins.{str(called)[:80]}"
        elif top == "builtins" and is_function and part.get("registered_name") not in {None, "function"}:
            yield f"the function builtins.{str(config)[:80]}"
        elif _UTILITIES.fullmatch(module) and name[:1].islower() and not is_function:
            yield f"the function {module[:80]}.{name[:80]}"
    if last == "KerasLayer" and isinstance(config, dict) and re.match(r"\w+://|/", str(config.get("handle"))):
        yield f"a layer that is loaded from {str(config['handle'])[:120]!r}"
    if isinstance(config, dict):
        yield from _of_paths(last, config)


def _of_paths(layer: str, config: dict[str, Any]) -> Iterator[str]:
    """Vocabularies that are read from a path: any of a lookup, of others what leads out of the model's folder."""
    for key in _PATH_KEYS:
        path = config.get(key)
        if not isinstance(path, str) or not path:
            continue
        # letters one by one, line feeds among them, are a vocabulary themselves
        why = "" if len(path) > MAX_PATH or not path.isprintable() else unsafe_path(path) or not_beside(path)
        if why or (layer in _LOOKUPS and key in {"vocabulary", "idf_weights"}):
            yield f"a {layer[:80] or 'part'} whose {key} is read from {path[:80]!r}" + (f": {why}" if why else "")


def is_dense(raw: bytes) -> bool:
    """Whether a JSON text holds more objects and lists than a model's configuration has any reason to."""
    return raw.count(b"{") + raw.count(b"[") > MAX_OBJECTS


def config_faults(raw: bytes) -> tuple[str, ...]:
    """The faults of a configuration as JSON; one that cannot be read is a fault."""
    if is_dense(raw):
        return ("a configuration of more parts than are looked at: it was not read",)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return ("a configuration that is not JSON",)
    return tuple(dict.fromkeys(faults_in(value)))


def hdf5_faults(source: Source) -> tuple[tuple[str, ...], str]:
    """The faults of a Keras model in HDF5, and what of the file could not be read."""
    try:
        attributes = root_attributes(source)
    except NotRead as error:
        searched, whole = _searched(source)
        return searched, "" if whole or searched else f"its attributes were not read ({error})"
    faults = [
        f for name in ("model_config", "training_config") if (raw := attributes.get(name)) for f in config_faults(raw)
    ]
    return tuple(dict.fromkeys(faults)), ""


def _searched(source: Source) -> tuple[tuple[str, ...], bool]:
    """Layers that are code, by their names anywhere in a file; whether all of it was searched."""
    at = 0
    pattern = re.compile(rb'"class_name":\s*"(?:[\w.]+>)?(Lambda|\\u004cambda|TorchModuleWrapper)"')
    while at < min(source.size, MAX_SEARCHED):
        if match := pattern.search(source.read_at(at, (1 << 20) + 64)):
            return (f"a layer of the class {match[1].decode()}, which is code",), False
        at += 1 << 20
    return (), at >= source.size
