"""What drafting adds with the first request, which llama.cpp does not reserve when it starts.

A draft that reads hidden states has its model keep them: the inputs of some layers to the end of the graph, on their
devices, and a copy of every token's on the host. The output buffer grows to as many rows as are checked at a time.

Sources (b11434): common/speculative.cpp (what each type asks of both contexts when it is made, its `process` and
`draft`), src/llama-context.cpp (`set_embeddings_layer_inp`, `output_reserve`, `encode`), src/llama-graph.cpp
(`t_layer_inp`).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.devices.placement import HOST
from inspector.memory.engines.llamacpp.compute import compute_parts
from inspector.memory.engines.llamacpp.lines import embedding_width
from inspector.memory.engines.llamacpp.speculation import MTP
from inspector.memory.estimate import Line
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.sizes import Sizes
    from inspector.memory.engines.llamacpp.speculation import Speculation

LABEL: Final = "drafting"
# Types of drafts that read inputs of layers, by the draft's architecture.
_READERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "eagle3": frozenset(("draft-eagle3",)),
    "dflash": frozenset(("draft-dflash", "draft-dspark")),
})  # fmt: skip
# Whose graphs name the inputs of their layers; any other ends llama.cpp with an assertion (asked of every small model).
_NAMES_INPUTS: Final = frozenset((
    "llama", "llama-embed", "qwen3", "qwen3moe", "minimax-m2", "minimax-01", "hunyuan-dense", "hunyuan_vl", "nanbeige",
    "gemma4", "gpt-oss", "muse-glimmer", "mimo2", "deepseek4", "nemotron_h", "nemotron_h_moe", "lfm2", "lfm2moe",
    "qwen3next", "qwen35", "qwen35moe", "bailingmoe3", "qwen4exp",
))  # fmt: skip
# Whose graphs name what comes out of the last layer too (`extract_final_inp`).
_NAMES_OUTPUT: Final = frozenset(("mimo2", "nemotron_h", "nemotron_h_moe", "deepseek4"))
# Whose graphs hold the states of all tokens only once they are read; others hold them anyway (`embeddings_nextn`).
_HOLDS_WHEN_READ: Final = frozenset(("deepseek4", "qwen4exp"))


class Read(Record):
    """What a draft reads of its model: inputs of `layers`, and whether the `states` of all tokens after them."""

    layers: tuple[int, ...] = ()
    states: bool = False


def read_by_draft(facts: ModelFacts, draft: ModelFacts | None, speculation: Speculation) -> Read | str:
    """What is read of a model for these types; what is not known of it, in words."""
    types = frozenset(speculation.types)
    if draft is None or not types & _READERS.get(draft.arch, frozenset()):
        return Read(states=MTP in types)
    listed = (draft.keys or {}).get(f"{draft.arch}.target_layers")
    if not isinstance(listed, tuple) or not all(isinstance(x, int) and 0 <= x <= (facts.n_layers or 0) for x in listed):
        return "the layers that the draft reads"
    last = facts.n_layers if draft.arch == "eagle3" else None  # that one is read as prediction layers read it
    layers = tuple(sorted({x for x in listed if x != last}))
    names = facts.arch in _NAMES_INPUTS and (facts.n_layers not in layers or facts.arch in _NAMES_OUTPUT)
    if layers and not names:
        return f"hidden states for the draft, which llama.cpp's {facts.arch} does not hand over"
    return Read(layers, last in listed)


def changes_graph(facts: ModelFacts, read: Read | str) -> bool:
    """Whether the model's graph is another one with what is read of it."""
    return isinstance(read, Read) and bool(read.layers or (read.states and facts.arch in _HOLDS_WHEN_READ))


def device_lines(facts: ModelFacts, sizes: Sizes, assignment: Assignment, read: Read) -> Iterator[Line]:
    """How much more the graph needs on each device with what is read held to its end; buffers never shrink."""
    if not changes_graph(facts, read):
        return
    asked = sizes.as_effective()
    before = compute_parts(facts, asked, assignment)
    after = compute_parts(facts, {**asked, "kept": read.layers, "keeps_states": read.states}, assignment)
    if before is None or after is None:
        return
    held = f"inputs of {len(read.layers)} layers" if read.layers else "states of all tokens"
    for device, n in after[0].items():
        if n > before[0].get(device, 0):
            yield Line("compute", n - before[0].get(device, 0), after[1], f"{held}, held for the draft", device, LABEL)


def output_line(facts: ModelFacts, sizes: Sizes, read: Read, *, n_rows: int) -> Iterator[Line]:
    """How much the model's output buffer grows: rows of logits beyond one a sequence, and what is read, f32."""
    rows = max(0, n_rows - sizes.n_seqs)
    states = read.states * embedding_width(facts) + len(read.layers) * (facts.d_model or 0)
    nbytes = 4 * (rows * (facts.vocab_size or 0) + sizes.n_batch * states)
    if nbytes:
        how = f"{n_rows:,} rows of logits; {states:,} numbers of hidden states for each of {sizes.n_batch:,} tokens"
        yield Line("output", nbytes, "derived", how, HOST, LABEL)


def draft_output_line(
    draft: ModelFacts, sizes: Sizes, speculation: Speculation, *, sampled: bool, selects: bool
) -> Iterator[Line]:
    """How much the draft's output buffer grows: logits, hidden states, and what its device picks tokens with.

    An eagle3's encoder reports each token of a batch; `selects`: a DFlash 2, which reports states instead of logits.
    """
    reads = _READERS.get(draft.arch, frozenset()) & frozenset(speculation.types)
    rows = sizes.n_seqs
    if reads and draft.arch == "eagle3":
        rows = max(rows, sizes.n_ubatch)
    elif reads and not selects:
        rows *= speculation.draft_outputs
    vocab, width = draft.vocab_size or 0, embedding_width(draft)
    states = sizes.n_batch * width if selects else rows * width
    picks = rows * (3 * vocab + 1) if sampled else 0  # logits, probabilities and candidates, and the token
    nbytes = 4 * (rows * vocab + states + picks - sizes.n_seqs * vocab)
    if nbytes > 0 and (reads or MTP in speculation.types):
        how = f"{rows:,} rows of logits and hidden states" + (", and what tokens are picked with" if picks else "")
        yield Line("output", nbytes, "derived", how, HOST, f"draft {LABEL}")
