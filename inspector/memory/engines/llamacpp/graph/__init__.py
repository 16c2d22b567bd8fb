"""Compute buffers of llama.cpp, predicted by building its worst-case graph and replaying its allocator.

Shapes in docstrings are innermost-first, as in ggml: `n_embd` elements of `n_tokens` tokens of the batch, which
`n_seqs` sequences share in `n_seq_tokens` each; a cache has `cells` cells in each of `n_stream` streams.

Source: llama.cpp b11434: src/llama-graph.cpp, src/models/*.cpp, src/llama-context.cpp, ggml/src/ggml-alloc.c,
ggml/src/ggml-backend.cpp. Measured: one CPU back end, and devices through the RPC back end.
"""

from __future__ import annotations

from inspector.dtypes import DTYPES
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND, policies
from inspector.memory.engines.llamacpp.graph.alloc import measure
from inspector.memory.engines.llamacpp.graph.archs import ARCHS, WITHOUT_TRUNK
from inspector.memory.engines.llamacpp.graph.builds import MOST_INPUTS, RULES, is_replayed, row_at
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, Model
from inspector.memory.engines.llamacpp.graph.options import Row
from inspector.memory.engines.llamacpp.graph.run import Run
from inspector.memory.engines.shared.once import once_a_model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.graph.decoder import Decoder
    from inspector.memory.engines.llamacpp.graph.tensor import Elem, Tensor
    from inspector.memory.engines.llamacpp.target import Target

HOST: Final = "host"


def compute_buffers(
    facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment | None = None
) -> tuple[Mapping[str, int], str] | None:
    """Bytes of compute buffers by device, and their grade; None where nothing is known of the graph.

    `effective`: n_ctx, n_ctx_seq, n_batch, n_ubatch (tokens), n_seqs, n_outputs_max (rows), kv_unified, flash_attn,
    swa_full, offload_kqv, type_k and type_v (names of element types); of a draft, "target" (a `Target`) and "sampled"
    (rows a sequence whose tokens its device picks). "derived": the architecture's graph was compared with llama.cpp's
    own, node by node; "modelled": a plain decoder stands in for it. `flash_attn_auto`: flash attention is on only
    because its device can run it, and goes off where a layer's would land on another device.
    """
    found = compute_memory(facts, effective, assignment)
    return None if found is None else found[:2]


def compute_memory(
    facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment | None = None
) -> tuple[Mapping[str, int], str, Mapping[str, tuple[int, bool]]] | None:
    """Compute buffers, their grade, and what devices take besides: pool in bytes, and whether cuBLAS is called.

    Arguments as `compute_buffers`; None where nothing is known of the graph.
    """
    try:
        if assignment is not None and assignment.devices:
            return _on_devices(facts, effective, assignment)
        graph, grade = build(*_asked(facts, effective, assignment))
        return {HOST: measure(graph.leafs, graph.nodes, None, [HOST_BACKEND])[0]}, grade, {}
    except GraphUnknown:
        return None


def _on_devices(
    facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment
) -> tuple[Mapping[str, int], str, Mapping[str, tuple[int, bool]]]:
    from inspector.memory.engines.llamacpp.graph.sched import crossings, placed_sizes

    model, run = _asked(facts, effective, assignment)
    backends = policies(assignment.backends)
    if run.flash and effective.get("flash_attn_auto") and not flash_in_place(facts, effective, assignment):
        run.flash = False
    graph, grade = build(model, run)
    if graph.fusible:
        run.unfused = _unfused(facts, effective, assignment, run, graph.fusible)
        graph, grade = build(model, run)
    pipeline = len(backends) > 2 and run.full_offload and run.offload_kqv and not assignment.overrides
    pipeline = pipeline and ("rpc" not in assignment.backends or model.does("pipelines over RPC"))
    _run_where(model, graph, assignment)
    if pipeline and crossings(graph.nodes) > len(backends):  # it holds what each layer copies: none may be left out
        graph, grade = build(model, run, whole=True)
        _run_where(model, graph, assignment)
    found = placed_sizes(
        graph.leafs, graph.nodes, backends, pipeline=pipeline, every_input=model.does("copies every input"),
        most=0 if model.does("takes any inputs") else MOST_INPUTS,
        held=frozenset(rule for rule in RULES if model.does(rule)),
    )  # fmt: skip
    if not all(b.measured for b in backends):
        grade = "modelled"
    grows = {name: _grown(graph.nodes, i) for i, name in enumerate(assignment.devices) if backends[i].pools}
    return dict(zip((*assignment.devices, HOST), found, strict=True)), grade, grows


def _run_where(model: Model, graph: Decoder, assignment: Assignment) -> None:
    """Decides where each node runs, as the build does."""
    from inspector.memory.engines.llamacpp.graph.sched import ONLY_ROPE, UNDECIDED, place

    passed_over = UNDECIDED if model.does("passes over sinks") else ONLY_ROPE
    backends = policies(assignment.backends)
    place(graph.leafs, graph.nodes, backends, op_offload=assignment.op_offload, passed_over=passed_over)


def _grown(nodes: Iterable[Tensor], device: int) -> tuple[int, bool]:
    from inspector.memory.engines.llamacpp.backends.pools import grown

    return grown(node for node in nodes if node.buf == device)


def flash_in_place(facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment) -> bool:
    """Whether each layer's flash attention would run on its own device (resolve_fused_ops, llama-context.cpp)."""
    graph, run = _probed(facts, effective, assignment)
    return all(node.buf == run.layer_buf[il] for il, node in graph.flash_nodes)


def _probed(
    facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment, **given: Any
) -> tuple[Decoder, Run]:
    """The graph of a small batch, with each node where it would run; `given`: what is decided of its run."""
    model, run = _asked(facts, effective, assignment)
    for name, value in given.items():
        setattr(run, name, value)
    run.probe()
    graph, _ = build(model, run)
    _run_where(model, graph, assignment)
    return graph, run


def _unfused(
    facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment, run: Run, ops: Iterable[str]
) -> set[str]:
    """Which of these operations go off, one kind after another, as one would run on another device than its layer.

    Source: resolve_fused_ops (src/llama-context.cpp).
    """
    off: set[str] = set()
    for op in ops:
        graph, probe = _probed(facts, effective, assignment, flash=run.flash, unfused=off)
        if any(name == op and node.buf != probe.layer_buf[il] for name, il, node in graph.fused_nodes):
            off.add(op)
    return off


def build(model: Model, run: Run, *, whole: bool = False) -> tuple[Decoder, str]:
    """The worst-case graph and its grade; layers that repeat are left out unless `whole`, or where inputs are kept.

    Raises GraphUnknown for an architecture without a builder, and where a weight or key that it needs is missing.
    """
    from importlib import import_module

    if not model.n_layer and model.arch not in WITHOUT_TRUNK:
        raise GraphUnknown(f"{model.arch} without layers")
    if not is_replayed(model.arch, model.build):
        raise GraphUnknown(f"{model.arch} in b{model.build}")
    if run.predicting:
        from inspector.memory.engines.llamacpp.graph.predicting import PREDICTING

        if model.arch not in PREDICTING:
            raise GraphUnknown(f"prediction layers of {model.arch}")
        row: Row | None = PREDICTING[model.arch]
    else:
        row = row_at(model.arch, ARCHS.get(model.arch), model.build)
    made_by = row or Row("decoder", "Decoder")
    builder = getattr(import_module(f"{__name__}.{made_by.module}"), made_by.builder)
    graph: Decoder = builder(model, run, made_by.options)
    if not whole and not run.kept:  # what is kept divides the blocks that layers share
        graph.leave_out_repetitions()
    graph.build()
    if run.sampled:
        from inspector.memory.engines.llamacpp.graph.sampling import add_sampling

        add_sampling(graph)
    return graph, "derived" if row and row.compared else "modelled"


def _asked(facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment | None) -> tuple[Model, Run]:
    """The model and its run, placed; beside its target's where it is a draft ("target" of `effective`)."""
    model, run = Model(facts), run_of(effective)
    if assignment is not None and assignment.devices:
        _place(facts, model, run, assignment)
    target: Target | None = effective.get("target")
    if target is not None:
        run.target = _asked(target.facts, target.effective, target.assignment)
    return model, run


def _elem(value: Any) -> Elem:
    dtype = value if hasattr(value, "block_elems") else DTYPES[str(value).upper()]
    return (dtype.block_elems, dtype.block_bytes, dtype.name.lower())


def run_of(effective: Mapping[str, Any]) -> Run:
    """The batch that llama.cpp reserves for, from the sizes it runs with."""
    return Run(effective, _elem(effective.get("type_k", "f16")), _elem(effective.get("type_v", "f16")))


def _numbers(assignment: Assignment) -> dict[str, int]:
    return {name: i for i, name in enumerate((*assignment.devices, HOST))}


@once_a_model
def _weights_at(facts: ModelFacts, assignment: Assignment) -> dict[str, int]:
    """The number of the device that holds each weight, where it is not its layer's."""
    from inspector.memory.engines.llamacpp.loading import weight_devices
    from inspector.memory.engines.llamacpp.weights import weights

    number = _numbers(assignment)
    where = {"output.weight": number[assignment.weight_device("output.weight", "output")]}
    device_of = weight_devices(facts, assignment)
    for w in weights(facts):  # a tied output is loaded under the embedding's name, by which overrides know it
        where["output.weight" if w.copy else w.name] = number[device_of(w.name, w.layer)]
    return where


def _place(facts: ModelFacts, model: Model, run: Run, assignment: Assignment) -> None:
    """Number the devices (the host is last) and say where each weight, layer and cache lies."""
    number = _numbers(assignment)
    host = number[HOST]
    run.host_buf = host
    run.layer_buf = [number[d] for d in assignment.blocks]
    run.full_offload = assignment.n_offloaded > len(assignment.blocks)
    run.offload_kqv = run.offload_kqv and assignment.kv_offload
    where = _weights_at(facts, assignment)

    def weight_buf(block: str, name: str) -> int:
        """Index of the back end that holds a weight: where overrides put it, else its layer's."""
        full = f"blk.{block}.{name}" if block else name
        return where.get(full, run.layer_buf[int(block)] if block else host)

    model.weight_buf = weight_buf
