"""The columns of a scan, once: what rows hold, what every file format stores, and what docs/fleet.md says.

A column is added at the end of its group without a new version; one that goes, or changes its meaning or type, is a new
version of the schema.
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    Struct = tuple[tuple[str, str], ...]

SCHEMA: Final = "inspector.scan/1"
TENSOR_SCHEMA: Final = "inspector.scan-tensors/1"
# What reads a target anew on --resume although it has not changed: the store or the worker failed, not the file.
PASSING_ERRORS: Final = ("source", "worker")


class Column(Record):
    """One column. `kind`: text, int, real, flag, texts (a list), or the fields of a list of records."""

    name: str
    kind: str | Struct
    words: str


DTYPES: Final[Struct] = (("dtype", "text"), ("n_tensors", "int"), ("n_elements", "int"), ("nbytes", "int"))
CACHES: Final[Struct] = (("n_ctx", "int"), ("nbytes", "int"))
ESTIMATES: Final[Struct] = (
    ("engine", "text"), ("n_ctx", "int"), ("gpu", "text"), ("nbytes", "int"), ("grade", "text"), ("fits", "flag"),
    ("error", "text"),
)  # fmt: skip
FILES: Final[Struct] = (("name", "text"), ("nbytes", "int"), ("sha256", "text"))

# fmt: off
COLUMNS: Final = (
    Column("schema", "text", f"`{SCHEMA}`: the version of this table"),
    Column("inspector", "text", "version of the program that read the model"),
    Column("asked", "text", "what was asked of each model (contexts, engines, GPUs, audit), as JSON"),
    Column("root", "text", "the root that it was found below"),
    Column("target", "text", "what every other command takes to look at this model"),
    Column("found", "text", "what was found: `target`, or the repository that this is one of several models of"),
    Column("store", "text", "kind of place it lies in: folder, hub, ollama, …"),
    Column("role", "text", "model, mmproj, lora, draft, unfinished"),
    Column("stamp", "text", "size and time of its files, an etag or a revision: equal while the model is unchanged"),
    Column("name", "text", "file or folder name"),
    Column("title", "text", "the name that the file itself gives (`general.name`)"),
    Column("license", "text", "the licence that the file itself states (`general.license`)"),
    Column("format", "text", "gguf, safetensors or config"),
    Column("version", "int", "version of the GGUF format"),
    Column("repo", "text", "repository on the Hub, where it is known"),
    Column("revision", "text", "commit on the Hub, where it is known"),
    Column("sha256", "text", "hash of the one weights file, where it costs nothing (the Hub's listing, a blob's name)"),
    Column("files", FILES, "every weights file; at most 1,000"),
    Column("n_files", "int", "weights files"),
    Column("nbytes", "int", "bytes of all weights files"),
    Column("header_nbytes", "int", "bytes of all headers"),
    Column("tensors_nbytes", "int", "exact bytes of all tensors"),
    Column("n_tensors", "int", "tensors"),
    Column("missing_nbytes", "int", "bytes that headers promise and files do not have"),
    Column("missing_files", "texts", "files that an index or a split names and that are absent; at most 100"),
    Column("n_pickles", "int", "pickled weights beside it: loading them runs code"),
    Column("arch", "text", "architecture, as the file calls it"),
    Column("known_arch", "flag", "whether the registry has a row for it"),
    Column("n_params", "int", "parameters, packed ones unpacked"),
    Column("n_params_active", "int", "parameters that one token uses"),
    Column("n_layers", "int", "layers"),
    Column("d_model", "int", "width"),
    Column("n_experts", "int", "routed experts a layer"),
    Column("vocab_size", "int", "tokens in the vocabulary"),
    Column("n_ctx_train", "int", "tokens of context that it was trained for"),
    Column("shape_key", "text", "hash of the names and shapes of all tensors: equal for every quant of one model "
           "in one format, and for fine-tunes of it"),
    Column("quant_claimed", "text", "quant that the name or the file claims"),
    Column("quant_actual", "text", "what the tensors are made of"),
    Column("quant_honest", "flag", "whether the claim describes the tensors"),
    Column("bits_per_weight", "real", "tensor bits by parameter"),
    Column("dtypes", DTYPES, "element types, most bytes first; at most 64"),
    Column("kv_nbytes_token", "int", "bytes of cache that the first token adds, f16, all layers"),
    Column("state_nbytes", "int", "bytes of recurrent state of one sequence, whatever its length"),
    Column("caches", CACHES, "bytes of cache of one sequence, f16, states included, at each context asked for "
           "that it was trained for, and at its trained context"),
    Column("smallest_gpu", "text", "smallest GPU of the registry that runs it, one sequence, by the default engine"),
    Column("smallest_gpu_n_ctx", "int", "context of `smallest_gpu`: the first asked for, or the shorter trained one"),
    Column("smallest_gpu_nbytes", "int", "memory of `smallest_gpu` as its driver reports it"),
    Column("estimates", ESTIMATES, "what `--engine`, `-c` and `--gpu` asked for: bytes on all devices together"),
    Column("verdict", "text", "of the audit: pass, warn or fail"),
    Column("codes", "texts", "codes of all findings, worst first"),
    Column("n_errors", "int", "findings that loaders refuse"),
    Column("n_warnings", "int", "findings that change what is loaded"),
    Column("error", "text", "why there is no more than this about it"),
    Column("error_kind", "text", "source (not reached), format (broken), facts (not enough said), worker (it died), "
           "defect (of inspector)"),
)
TENSOR_COLUMNS: Final = (
    Column("target", "text", "`target` of the model's row"),
    Column("file", "text", "weights file"),
    Column("tensor", "text", "name"),
    Column("dtype", "text", "element type"),
    Column("shape", "text", "dimensions, outermost first: `4096x11008`, or `scalar`"),
    Column("n_elements", "int", "elements"),
    Column("nbytes", "int", "bytes"),
    Column("offset", "int", "first byte in its file"),
)
# fmt: on
EMPTY_ROW: Final[dict[str, Any]] = {c.name: None for c in COLUMNS}


def kind_words(kind: str | Struct) -> str:
    """A column's type in DuckDB's words, which Parquet's and JSON's follow from."""
    if isinstance(kind, str):
        return {"text": "VARCHAR", "int": "BIGINT", "real": "DOUBLE", "flag": "BOOLEAN", "texts": "VARCHAR[]"}[kind]
    return f"STRUCT({', '.join(f'{name} {kind_words(of)}' for name, of in kind)})[]"
