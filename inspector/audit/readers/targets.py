"""Names of Python objects that a configuration makes a loader import: hydra, sentence-transformers, diffusers, YAML.

hydra 1.3 _internal/instantiate, sentence_transformers 5 SentenceTransformer.py (_load_module_class_from_ref),
diffusers 0.35 pipelines/pipeline_loading_utils.py (LOADABLE_CLASSES, get_class_obj_and_candidates), PyYAML 6.
"""

from __future__ import annotations

import re
import sys
from itertools import islice

from inspector.audit.readers.pickle_names import DANGEROUS
from inspector.errors import InspectorError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.audit.subject.records import Subject

MAX_TEXT: Final = 16 << 20
MAX_ALL: Final = 64 << 20
MOST_NAMED: Final = 20_000
_HARMLESS: Final = frozenset(
    {"functools.partial", "collections.OrderedDict", "pathlib.Path", "datetime.timedelta", "datetime.datetime",
     "builtins.dict", "builtins.list", "builtins.tuple", "builtins.set", "builtins.slice", "builtins.range"}
)  # fmt: skip
# Parts of libraries that load, compile or look up whatever they are told.
_LOADERS: Final = re.compile(
    r"torch\.(load|hub\.|jit\.load|utils\.cpp_extension|classes|ops\.load|package\.|serialization\.)|numpy\.(load|f2py|"
    r"memmap|lib\.npyio|fromfile)|hydra\.utils\.(get_|call|instantiate)|hydra\._internal|pandas\.(read_pickle|eval|io\.)|"
    r"joblib\.|transformers\.(commands|utils\.import_utils|dynamic_module)|nemo\.\w+\.[\w.]*(system|exec|eval)$"
)
_LIBRARIES: Final = frozenset(
    {"torch", "torchvision", "torchaudio", "transformers", "diffusers", "nemo", "pytorch_lightning", "lightning",
     "omegaconf", "hydra", "timm", "peft", "torchmetrics", "numpy", "sklearn", "sentence_transformers", "kornia",
     "monai", "einops", "xformers", "open_clip", "speechbrain", "pyannote", "espnet", "fairseq", "megatron",
     "accelerate", "bitsandbytes", "flash_attn", "audiocraft", "sgm", "ldm", "onnxruntime"}
)  # fmt: skip
# Between a key and its value: comments, anchors, tags, and the signs of a folded text.
_BETWEEN: Final = r"""["']?\s*:(?:\s|\#[^\n]{0,400}\n|[&!][^\s,\]}]{0,200}\s|[>|][-+\d]{0,4}\s){0,64}["']?"""
_TARGET: Final = re.compile(r"""["']?_target_""" + _BETWEEN + r"""([^\s"',}\]]+)""")
_TAG: Final = re.compile(
    r"!(?:!python/|<tag:yaml\.org,2002:python/)(?:object/(?:apply|new)|object|module|name):?([\w.]*)|"
    r"%TAG\s+\S+\s+tag:yaml\.org,2002:"
)
# Other keys and tags by which loaders import: Stable Diffusion's configs, jsonargparse, torchtune, SpeechBrain's YAML,
# pyannote's pipelines, sentence-transformers' modules, PEFT. Only what acts is spoken of: they have other meanings too.
_KEYS: Final = re.compile(
    r"""(?<![\w.])(target|class_path|_component_|callable|factory|activation_function|activation_fn|tokenizer_class|"""
    r"""sbert_ce_default_activation_function|parent_library|pipeline["']?\s*:\s*(?:\{\s*)?["']?name)"""
    + _BETWEEN + r"""([A-Za-z_][\w.]*)"""
)  # fmt: skip
_SPEECHBRAIN: Final = re.compile(r"!(?:new|apply|name|module):([\w.]+)")
# A text that is not named as YAML: lines that a document may have, and what stands before a value.
_BEFORE: Final = re.compile(r"(?:^|[:\-?\[{,\n]|[&!][^\s]+)[ \t]*\Z")
_COMMENT: Final = re.compile(r"^\s*#.*$", re.MULTILINE)
_YAML_LINE: Final = re.compile(
    r"""\ufeff?(?:---|\.\.\.|%[A-Z]+\s|\s*[-?](?:\s|$)|\s*["']?[\w][\w .\-/]{0,80}["']?\s*:(?:\s|$)|"""
    r"""\s*[\]\[{},&*!|>"']|\s+\S)"""
)
MOST_LINES: Final = 100_000
_TYPES: Final = re.compile(r'"types"\s*:\s*\{([^}]{0,4000})\}')
_ALIAS: Final = re.compile(r"&(\w+)\s+[\"\']?([\w.]+)")
# Modules whose names are also ordinary words of a configuration.
_WORDS: Final = frozenset({"code", "site", "trace", "profile", "signal", "platform", "types", "io", "operator"})
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
# Folders of diffusers' own pipelines whose classes a model_index.json may name.
_PIPELINE_WORDS: Final = """
    stable_diffusion stable_diffusion_safe stable_diffusion_xl stable_diffusion_3 stable_cascade latent_diffusion
    deepfloyd_if kandinsky kandinsky2_2 kandinsky3 paint_by_example alt_diffusion audioldm audioldm2 shap_e unidiffuser
    unclip versatile_diffusion wuerstchen flux wan ltx hunyuan_video cogvideo cogview3 cogview4 pixart_alpha sana lumina
    lumina2 mochi allegro aura_flow controlnet animatediff musicldm dance_diffusion ddpm ddim qwenimage hidream_image
    blip_diffusion text_to_video_synthesis i2vgen_xl latte ledits_pp marigold pag pia semantic_stable_diffusion
    stable_audio stable_video_diffusion t2i_adapter amused consistency_models omnigen hunyuandit
    """
_PIPELINES: Final = frozenset(_PIPELINE_WORDS.split())


class Target(Record):
    """A name that a loader imports, in which file; `severity` as bad as what it names; `words` who asks."""

    where: str
    words: str
    severity: str


def _severity(path: str) -> str:
    """ "error" for what acts, "" for parts of model libraries, "info" for a package of its own."""
    if path in _HARMLESS:
        return ""
    top = path.partition(".")[0]
    if _LOADERS.match(path):
        return "error"
    if top in _LIBRARIES:
        return ""
    return "error" if top in sys.stdlib_module_names or top in DANGEROUS else "info"


def _unescaped(text: str) -> str:
    def char(match: re.Match[str]) -> str:
        value = int(match[1] or match[2] or match[3], 16)
        return chr(value) if value < 0x110000 else ""

    return _ESCAPE.sub(char, text) if "\\" in text else text


_MARKS: Final = (b"_target_", b"!!python", b"2002:", b"%TAG")
_TAGGED: Final = re.compile(r"!\w{0,40}!?[^\s%]{0,200}%\S{0,200}")


def _percent(match: re.Match[str]) -> str:
    """A tag with its %-escapes taken out."""
    return re.sub(r"%([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), match[0])


def _acts(path: str) -> bool:
    """Whether a path names what attacks use, and hardly anything else."""
    top = path.partition(".")[0]
    return _LOADERS.match(path) is not None or (top in DANGEROUS and top not in _LIBRARIES | _WORDS)


def _otherwise(name: str, text: str) -> Iterator[Target]:
    """What acts, by the keys and tags of loaders other than hydra."""
    found: dict[str, str] = {}
    for match in islice(_KEYS.finditer(text), 5 * MOST_NAMED):
        if "." in match[2] or match[1] == "parent_library":
            found.setdefault(match[2], f"{match[1].rpartition(' ')[2][-40:].strip()} names")
    for match in _SPEECHBRAIN.finditer(text):
        found.setdefault(match[1], "a YAML tag that makes a Python object:")
    for match in islice(_TYPES.finditer(text), 100):
        found.update(dict.fromkeys(re.findall(r':\s*"([\w.]+)"', match[1]), "types names"))
    for path, words in list(found.items())[:500]:
        if _acts(path):
            yield Target(name, f"{words} {path[:200]}", "error")


def in_text(name: str, text: str) -> Iterator[Target]:
    """`_target_` of hydra, and YAML's tags that make Python objects."""
    text = _unescaped(text)
    own: dict[str, str] = {}
    anchors: dict[str, str] | None = None
    for n, match in enumerate(_TARGET.finditer(text)):
        path = match[1][:200]
        if n > MOST_NAMED:
            yield Target(name, f"more than {MOST_NAMED:,} names of Python objects: the rest was not read", "error")
            break
        if path.startswith("*"):  # what stands at the anchor
            anchors = dict(_ALIAS.findall(text)) if anchors is None else anchors
            path = anchors.get(path[1:], path)
        # a name that is not in the clear has a reason
        own.setdefault(path, "error" if path[:1] in "#&!>|*" else _severity(path))
    yield from _otherwise(name, text)
    for path, severity in list(own.items())[:200]:
        if severity:
            yield Target(name, f"_target_ names {path}", severity)
    if name.endswith((".yaml", ".yml")):
        yield from _python_tags(name, text)


def _python_tags(name: str, text: str, *, placed: bool = False) -> Iterator[Target]:
    """YAML's tags that make Python objects; `placed`: only where a value may begin."""
    text = _TAGGED.sub(_percent, text)
    matches = (
        m for m in _TAG.finditer(text) if not placed or _BEFORE.search(text[max(0, m.start() - 200) : m.start()])
    )
    tags = {(m[1] or "any kind")[:200]: None for m in matches}
    for path in list(tags)[:20]:
        severity = _severity(path) if "." in path else "error"
        if severity:
            yield Target(name, f"a YAML tag that makes a Python object: {path}", severity)


def in_unnamed(name: str, text: str) -> Iterator[Target]:
    """The same in a text under another name, where every line of it is one that YAML may have: prose has others."""
    text = _COMMENT.sub("", _unescaped(text))
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) <= MOST_LINES and all(_YAML_LINE.match(line) for line in lines):
        yield from _python_tags(name, text, placed=True)


def _texts(subject: Subject) -> Iterator[Target]:
    left = MAX_ALL
    for entry in subject.entries:
        if entry.kind != "file" or not entry.path or not entry.name.lower().endswith((".yaml", ".yml", ".json")):
            continue
        if entry.size > MAX_TEXT or left < entry.size:
            if not entry.name.lower().endswith(".json"):
                yield Target(entry.name, f"{entry.size:,} bytes of YAML, which were not read", "warning")
            continue
        left -= entry.size
        try:
            with subject.open_source(entry.name) as source:
                raw = source.read_at(0, source.size)
        except (InspectorError, KeyError):
            continue  # a finding of its own
        # a vocabulary of megabytes names nothing: only what may hold the word, escaped or not, is decoded
        if any(word in raw for word in _MARKS) or len(raw) < 1 << 18:
            yield from in_text(entry.name, raw.decode("utf-8", "replace"))


def _modules(name: str, value: Any, names: set[str]) -> Iterator[Target]:
    """The modules of a sentence-transformers model: a class each, imported by its path."""
    folder = name.rpartition("/")[0]
    for part in value if isinstance(value, list) else []:
        path = part.get("type") if isinstance(part, dict) else None
        if not isinstance(path, str) or re.fullmatch(r"sentence_transformers(\.\w+)+", path):
            continue
        module = path.rpartition(".")[0].replace(".", "/") + ".py"
        here = (f"{folder}/{module}" if folder else module) in names
        severity = "error" if _severity(path) == "error" else ("warning" if here or "--" in path else "info")
        yield Target(name, f"a module of the class {path[:200]}", severity)


def _pipeline(name: str, value: Any, names: set[str]) -> Iterator[Target]:
    """The components of a diffusers pipeline: [library, class] each."""
    if not isinstance(value, dict):
        return
    folder = name.rpartition("/")[0]
    own = value.get("_class_name")
    if isinstance(own, list) and own and isinstance(own[0], str):
        yield Target(name, f"a pipeline of its own file {own[0][:100]}.py", "warning")
    elif isinstance(own, str) and not own.isidentifier():
        yield Target(name, f"_class_name is {own[:100]!r}, which is no name of a class", "error")
    for key, part in list(value.items())[:1000]:
        if key.startswith("_") or not isinstance(part, list) or len(part) != 2 or not isinstance(part[0], str):
            continue
        library, made = part[0], str(part[1])
        top = library.partition(".")[0]
        if top in _LIBRARIES and not _LOADERS.match(f"{library}.{made}") and made.isidentifier():
            continue
        if library in _PIPELINES:
            continue
        file = f"{key}/{library}.py"
        here = (f"{folder}/{file}" if folder else file) in names
        severity = "error" if _severity(f"{library}.{made}") == "error" else ("warning" if here else "info")
        yield Target(name, f"{key} is made by {library[:100]}.{made[:100]}", severity)


def targets(subject: Subject) -> Iterator[Target]:
    """All names of Python objects in a subject's configurations that are no part of a model library."""
    names: set[str] = subject.cached("names", subject.names)
    for name, document in subject.documents.items():
        base = name.rpartition("/")[2].lower()
        if base == "modules.json":
            yield from _modules(name, document.value, names)
        elif base == "model_index.json":
            yield from _pipeline(name, document.value, names)
    yield from _texts(subject)
