"""Compute buffers of llama.cpp, predicted by building its worst-case graph and replaying its allocator.

Source: llama.cpp b11434: src/llama-graph.cpp, src/models/*.cpp, src/llama-context.cpp, ggml/src/ggml-alloc.c,
ggml/src/ggml-backend.cpp.
"""

from __future__ import annotations

from inspector.dtypes import DTYPES
from inspector.memory.engines.llamacpp_graph.alloc import measure
from inspector.memory.engines.llamacpp_graph.archs import ARCHS
from inspector.memory.engines.llamacpp_graph.model import Model
from inspector.memory.engines.llamacpp_graph.run import Run


def build(facts, effective):
    model = Model(facts)
    module, cls, options = ARCHS[model.arch]
    def elem(name):
        d = DTYPES[name.upper()]
        return (d.block_elems, d.block_bytes, d.name.lower())
    run = Run(effective, elem(effective["type_k"]), elem(effective["type_v"]))
    mod = __import__(f"{__name__}.{module}", fromlist=[cls])
    g = getattr(mod, cls)(model, run)
    g.build(options)
    return g


def simulate(facts, effective):
    g = build(facts, effective)
    return measure(g.leafs, g.nodes, None, [32])[0]
