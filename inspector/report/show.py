"""`show`: identity, architecture, parameters, quantisation and exact bytes on one screen; the same as JSON."""

from __future__ import annotations

from inspector.layers import LatentCache
from inspector.memory.cache import KV_DTYPES, sum_caches
from inspector.report.escape import escape
from inspector.report.folding import fold, fold_lines
from inspector.report.look import BOLD, DIM, Look, with_bars
from inspector.report.names import model_name
from inspector.report.text import columns, flow, join, percent, shorten, shorten_middle, table, wrap
from inspector.units import format_count, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.report import documents
    from inspector.report.records import ComponentRow

_MOST_FOLDS = 5  # rows of tensors on the first screen
_LONG_LABEL = 24  # columns of a quantisation that is a sentence
# Kinds of layers in the words of the report; a kind without a row is shown as it is.
_KIND_WORDS = {
    "full": "full attention", "sliding": "sliding window", "chunked": "chunked attention", "latent": "latent (MLA)",
    "recurrent": "recurrent", "hybrid": "attention + recurrent", "shared": "sharing another layer's cache",
    "none": "keeping nothing", "unknown": "of a kind not known here",
}  # fmt: skip


def dtype_rows(checkpoint: Checkpoint) -> list[tuple[str, int, int, int]]:
    """(type, tensors, elements, bytes) for each element type, most bytes first."""
    sums: dict[str, list[int]] = {}
    for t in checkpoint.tensors:
        entry = sums.setdefault(t.dtype.name if t.dtype else t.dtype_name or "unknown", [0, 0, 0])
        entry[0] += 1
        entry[1] += t.n_elements
        entry[2] += t.nbytes or 0
    rows = [(name, n, elements, nbytes) for name, (n, elements, nbytes) in sums.items()]
    return sorted(rows, key=lambda row: -row[3])


def layer_kinds(facts: ModelFacts) -> list[tuple[str, int, int | None]]:
    """(kind, how many layers, window) in order of first appearance."""
    counts: dict[tuple[str, int | None], int] = {}
    for layer in facts.layers:
        window = next((w for c in layer.caches if (w := getattr(c, "window", None))), None)
        counts[layer.kind, window] = counts.get((layer.kind, window), 0) + 1
    return [(kind, n, window) for (kind, window), n in counts.items()]


def _dims(facts: ModelFacts) -> str:
    heads = f"{facts.n_heads} heads" if facts.n_heads else ""
    if facts.n_heads:
        latent = next((c for layer in facts.layers for c in layer.caches if isinstance(c, LatentCache)), None)
        if latent is not None:
            heads += f" (latent {latent.rank} + {latent.rope_dim})"
        elif facts.n_kv_heads is not None and facts.head_dim_k:
            dim = str(facts.head_dim_k)
            if facts.head_dim_v not in (None, facts.head_dim_k):
                dim += f"/{facts.head_dim_v}"
            heads += f" ({facts.n_kv_heads} KV × {dim})"
    return join(
        [
            f"{facts.n_layers} layers" if facts.n_layers is not None else "",
            f"d_model {facts.d_model:,}" if facts.d_model else "",
            f"d_ff {facts.d_ff:,}" if facts.d_ff else "",
            heads,
        ]
    )


def _params(facts: ModelFacts) -> str:
    if facts.n_params is None:
        text_part = f" · {format_count(facts.n_params_text)} of the text part" if facts.n_params_text else ""
        return f"unknown{text_part}"
    text = f"{format_count(facts.n_params)} params ({facts.n_params:,})"
    if facts.n_params_active is not None and facts.n_params_active != facts.n_params:
        text += f" · {format_count(facts.n_params_active)} active a token"
        if facts.tied_embeddings is False and facts.vocab_size and facts.d_model:
            fewer = facts.n_params_active - facts.vocab_size * facts.d_model
            text += f", {format_count(fewer)} without the input embedding"
    return text


def _attention(facts: ModelFacts) -> str:
    parts = []
    for kind, n, window in layer_kinds(facts):
        words = _KIND_WORDS.get(kind, kind)
        parts.append(f"{n} {words}" + (f" of {window:,}" if window else ""))
    return ", ".join(parts)


def _experts(facts: ModelFacts) -> str:
    if not facts.n_experts:
        return ""
    used = facts.n_experts_used if facts.n_experts_used is not None else "?"
    width = f" · d_ff {facts.d_ff_expert:,} each" if facts.d_ff_expert else ""
    return f"{facts.n_experts:,}, {used} used a token{width}"


def _promised(facts: ModelFacts) -> str:
    """Bytes of a config's weights: as its index states them, and as its own tensors add up."""
    counted = facts.promised_nbytes or 0
    if facts.stated_nbytes:
        same = "" if counted in (0, facts.stated_nbytes) else f" · {format_nbytes(counted)} by the config's own tensors"
        return f"{format_nbytes(facts.stated_nbytes)} ({facts.stated_nbytes:,} B) as the index states{same} · not here"
    return f"{format_nbytes(counted)} ({counted:,} B) as the config promises · not here" if counted else ""


def _weights(checkpoint: Checkpoint, facts: ModelFacts) -> str:
    if not checkpoint.tensors:
        return _promised(facts) or ("unknown (no weights here)" if checkpoint.format == "config" else "no tensors")
    nbytes = checkpoint.tensors_nbytes
    bits = f" · {nbytes * 8 / facts.n_params:.2f} bits/weight" if facts.n_params else ""
    shards = f" in {len(checkpoint.files)} files" if len(checkpoint.files) > 1 else ""
    return f"{format_nbytes(nbytes)} ({nbytes:,} B) · {len(checkpoint.tensors):,} tensors{shards}{bits}"


def _fact_rows(checkpoint: Checkpoint, facts: ModelFacts, label: str) -> list[tuple[str, str]]:
    n_ctx = f"{facts.n_ctx_train:,} tokens (trained)" if facts.n_ctx_train else "unknown"
    vocab = f"{facts.vocab_size:,}" if facts.vocab_size else "unknown"
    tied = "tied embeddings" if facts.tied_embeddings else ""
    quant = label or facts.quantization or ""
    nextn = f" + {facts.n_layers_nextn} for multi-token prediction" if facts.n_layers_nextn else ""
    rows = [
        ("architecture", f"{escape(facts.arch)} (not in the registry)" if facts.generic else ""),
        ("dimensions", _dims(facts) + nextn),
        ("parameters", _params(facts)),
        ("experts", _experts(facts)),
        ("layers", _attention(facts)),
        ("vocabulary", join([vocab, tied])),
        ("context", n_ctx if facts.causal else n_ctx + " · encoder only, nothing cached"),
        ("quantisation", "" if quant == _short_quant(facts, label) else escape(quant)),
        ("weights", _weights(checkpoint, facts)),
    ]
    return [row for row in rows if row[1]]


def _dtype_table(checkpoint: Checkpoint, look: Look, *, most: int = 6) -> list[str]:
    rows = dtype_rows(checkpoint)
    if not rows:
        return []
    total_elements, total = sum(r[2] for r in rows), sum(r[3] for r in rows)
    shown, rest = (rows, []) if len(rows) <= most else (rows[: most - 1], rows[most - 1 :])
    if rest:
        n, elements, nbytes = (sum(r[i] for r in rest) for i in (1, 2, 3))  # type: ignore[misc]
        shown = [*shown, (f"{len(rest)} more", n, elements, nbytes)]
    cells = [("type", "bytes", "share", "tensors", "elements", "share")]
    for name, n, elements, nbytes in shown:
        cells.append(
            (
                escape(name), format_nbytes(nbytes), percent(nbytes, total), f"{n:,}", format_count(elements),
                percent(elements, total_elements),
            )
        )  # fmt: skip
    lines = table(cells, align="<>>>>>")
    if max(map(columns, lines)) > look.width:
        lines = table([row[:3] for row in cells], align="<>>")
    return ["", *with_bars(lines, [row[3] for row in shown], look=look, total=total)]


def _tensor_table(checkpoint: Checkpoint, look: Look, *, every: bool) -> list[str]:
    """Where most of the bytes are, what repeats from layer to layer as one row; or each tensor."""
    if every:
        from inspector.report.tensors import tensor_lines  # an answer of its own, which the first screen need not load

        return ["", *tensor_lines(checkpoint.tensors, width=look.width)] if checkpoint.tensors else []
    folds = sorted(fold(checkpoint.tensors), key=lambda f: -f.nbytes)
    if len(folds) < 2:
        return []
    cut = len(folds) if len(folds) <= _MOST_FOLDS + 1 else _MOST_FOLDS
    return ["", *fold_lines(folds[:cut], look=look, total=checkpoint.tensors_nbytes, more=folds[cut:])]


def glance_contexts(facts: ModelFacts) -> list[int]:
    """A few contexts worth a first look: powers of two up to what the model was trained for."""
    top = facts.n_ctx_train or 32768
    return [n for n in (4096, 32768, 131072) if n < top] + [top]


def _glance(facts: ModelFacts, width: int) -> list[str]:
    """Cache bytes of one sequence at a few contexts, the longest of them, in half precision."""
    if not facts.layers or not any(layer.caches for layer in facts.layers):
        return []
    f16 = KV_DTYPES["f16"]
    contexts = glance_contexts(facts)[-4:]
    sums = [sum_caches(facts.layers, n, dtype_k=f16, dtype_v=f16) for n in contexts]
    if sums[0].unknown_layers:
        return ["", f"  cache: unknown for {len(sums[0].unknown_layers)} of {len(facts.layers)} layers"]
    head = ["one sequence, f16", *(f"{n:,}" for n in contexts)]
    cache = ["cache", *(format_nbytes(s.nbytes) for s in sums)]
    while True:
        lines = table([head, cache], align="<" + ">" * (len(head) - 1))
        if max(map(columns, lines)) <= width or len(head) < 3:
            return ["", *lines]
        del head[1], cache[1]


def _identity(checkpoint: Checkpoint, facts: ModelFacts, label: str, width: int) -> list[str]:
    """What it is in a line: name · architecture · parameters · quant · bytes."""
    n = facts.n_params if facts.n_params is not None else facts.n_params_text
    settings = [
        escape(facts.arch),
        f"{format_count(n)} params" if n else "",
        escape(_short_quant(facts, label)),
        format_nbytes(checkpoint.tensors_nbytes) if checkpoint.tensors else "",
    ]
    name = shorten_middle(model_name(checkpoint.target), width)
    first, *rest = flow([name, *(x for x in settings if x)], width=width)
    return [first, *("  " + line for line in rest)]


def _short_quant(facts: ModelFacts, label: str) -> str:
    """The quantisation, where it is a name and not a sentence."""
    return label if label and len(label) <= _LONG_LABEL else facts.quantization or ""


def _about(checkpoint: Checkpoint) -> list[str]:
    """Format, bytes on disk, and where it is from."""
    first = checkpoint.files[0] if checkpoint.files else None
    version = f" v{first.version}" if first and first.format == "gguf" else ""
    size = sum(f.size for f in checkpoint.files)
    header = sum(f.header_bytes for f in checkpoint.files)
    about = [
        {"gguf": "GGUF", "config": "config only"}.get(checkpoint.format, checkpoint.format) + version,
        f"{format_nbytes(size)} on disk" if size else "",
        f"header {format_nbytes(header)}" if header else "",
        "big-endian" if first and first.byte_order == "big" else "",
        f"revision {escape(checkpoint.revision)[:12]}" if checkpoint.revision else "",
    ]
    return [x for x in about if x]


def _beside(checkpoint: Checkpoint, width: int) -> list[str]:
    if not checkpoint.companions:
        return []
    beside = ", ".join(f"{escape(c.name)} ({c.role}, {format_nbytes(c.nbytes)})" for c in checkpoint.companions[:4])
    more = f" and {len(checkpoint.companions) - 4} more" if len(checkpoint.companions) > 4 else ""
    return ["", *("  " + line for line in wrap(f"beside it: {beside}{more}", width=width - 2))]


def _keeping_lines(checkpoint: Checkpoint, width: int) -> list[str]:
    """How the program that keeps the model would run it."""
    kept = checkpoint.keeping
    if kept is None:
        return []
    prompt = f"a system prompt of {len(kept.system):,} characters" if kept.system else ""
    given = join(f"{escape(str(k))} {escape(str(v))}" for k, v in sorted((kept.params or {}).items()))
    n_ctx = f"{kept.n_ctx:,} tokens of context" if kept.n_ctx and "num_ctx" not in (kept.params or {}) else ""
    rows = [("kept by", join([kept.program, n_ctx, shorten(given, 300), prompt])), ("template", _template(checkpoint))]
    lines = [""]
    for name, value in rows:
        wrapped = wrap(value, width=max(width - 16, 30))
        lines += [f"  {name if i == 0 else '':<13} {line}" for i, line in enumerate(wrapped[:4])]
    return lines


def _template(checkpoint: Checkpoint) -> str:
    """The chat template that the program would use, in a line, and whether the file's own is set aside for it."""
    kept = checkpoint.keeping
    assert kept is not None
    own = "tokenizer.chat_template" in checkpoint.metadata
    if kept.template is None:
        if kept.program != "Ollama":
            return "the file's own" if own else ""
        return "none kept: {{ .Prompt }}" + (", not the file's own" if own else "")  # server/images.go, GetModel
    language, instead = "Jinja" if kept.jinja else "Go", ", not the file's own" if own else ""
    words = f"{kept.program}'s, {len(kept.template):,} characters of {language}{instead}"
    return f"{words}: {shorten(escape(kept.template), 160)}"


def show_lines(
    checkpoint: Checkpoint, facts: ModelFacts, *, look: Look, label: str = "", every: bool = False,
    notes: tuple[str, ...] = (),
) -> list[str]:  # fmt: skip
    """The first screen: what the file is, what is in it and what it will cost. `every`: each tensor as well."""
    width = look.width
    first, *rest = _identity(checkpoint, facts, label, width)
    lines = [look.paint(first, BOLD), *rest, *("  " + x for x in flow(_about(checkpoint), width=width - 2)), ""]
    for name, value in _fact_rows(checkpoint, facts, label):
        wrapped = flow(value.split(" · "), width=max(width - 16, 24))
        lines.append(look.paint(f"  {name:<13} ", DIM) + wrapped[0])
        lines += [" " * 16 + more for more in wrapped[1:]]
    lines += _dtype_table(checkpoint, look)
    lines += _tensor_table(checkpoint, look, every=every)
    lines += _glance(facts, width)
    lines += _keeping_lines(checkpoint, width)
    lines += _beside(checkpoint, width)
    said = [*notes, *checkpoint.notes, *facts.notes]
    if said:
        lines.append("")
    for note in said[:8]:
        lines += ["  " + line for line in wrap("note: " + escape(note), width=width - 2, indent="      ")]
    return lines


def show_json(
    checkpoint: Checkpoint, facts: ModelFacts, *, claimed: str | None, actual: str | None,
    notes: tuple[str, ...] = (), components: Sequence[ComponentRow] = (),
) -> documents.Show:  # fmt: skip
    """The schema `inspector.show/1`. `components`: of a pipeline."""
    result: documents.Show = {
        "schema": "inspector.show/1",
        "target": checkpoint.target,
        "format": checkpoint.format,
        "files": [_file_json(checkpoint, i) for i in range(len(checkpoint.files))],
        "facts": facts,
        "dtypes": [
            {"dtype": name, "n_tensors": n, "n_elements": elements, "nbytes": nbytes}
            for name, n, elements, nbytes in dtype_rows(checkpoint)
        ],
        "tensors_nbytes": checkpoint.tensors_nbytes if checkpoint.files else None,
        "missing_nbytes": checkpoint.missing_nbytes,
        "missing": checkpoint.missing,
        "quant_claimed": claimed,
        "quant_actual": actual,
        "companions": checkpoint.companions,
        "notes": [*notes, *checkpoint.notes, *facts.notes],
    }
    if checkpoint.revision is not None:
        result["revision"] = checkpoint.revision
    if components:
        result["components"] = components
    if checkpoint.keeping is not None:
        result["keeping"] = checkpoint.keeping
    return result


def _file_json(checkpoint: Checkpoint, i: int) -> documents.File:
    file = checkpoint.files[i]
    entry: documents.File = {
        "name": file.name, "nbytes": file.size, "header_nbytes": file.header_bytes, "n_tensors": len(file.tensors),
    }  # fmt: skip
    if checkpoint.sha256 is not None:
        entry["sha256"] = checkpoint.sha256.get(file.name)
    return entry
