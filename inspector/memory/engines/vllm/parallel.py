"""How vLLM splits a model over GPUs: what it refuses, which layers a stage has, which weights a rank holds.

vLLM 0.33.0: config/model.py verify_with_parallel_config, layers/linear.py, layers/vocab_parallel_embedding.py,
distributed/utils.py get_pp_indices, layers/fused_moe/config.py FusedMoEParallelConfig.
"""

from __future__ import annotations

import re

from inspector.errors import WorkloadError
from inspector.layers import KVCache
from inspector.memory.engines.shared.hf_weights import VOCAB_PADDING
from inspector.record import Record
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu, Placement

_LAYER: Final = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_FIRST: Final = re.compile(r"(?:embed_tokens|word_embeddings|wte|embed_in|tok_embeddings|embeddings)")
_LAST: Final = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output|norm|ln_f|final_layernorm|norm_f)\.(?:weight|bias)$")
TOWER: Final = re.compile(r"(?:^|\.)(?:vision|visual|audio|image|multi_modal_projector|mm_projector)")


class Split(Record):
    """Ranks of each kind: `tensor` ranks split every layer, `pipeline` stages have layers each, `data` replicas serve.

    `experts`: whole experts on each rank of all replicas, in place of a slice of every expert.
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    experts: bool = False

    @property
    def n_gpus(self) -> int:
        """GPUs that it takes."""
        return self.tensor * self.pipeline * self.data


class Stage(Record):
    """The layers of one pipeline stage: from `first` up to `stop`, of `n` stages the `index`-th."""

    index: int
    n: int
    first: int
    stop: int


def stages(n_layers: int, pipeline: int) -> list[Stage]:
    """Which layers each stage has: what is left over goes to the middle, from the last but one backwards."""
    sizes = [n_layers // pipeline] * pipeline
    for i in range(2, n_layers % pipeline + 2):
        sizes[-i] += 1
    starts = [sum(sizes[:i]) for i in range(pipeline)]
    return [Stage(i, pipeline, start, start + size) for i, (start, size) in enumerate(zip(starts, sizes, strict=True))]


def refused(facts: ModelFacts, split: Split) -> str:
    """Why vLLM would not start with this split; "" where it would."""
    return next(_refusals(facts, split), "")


def _refusals(facts: ModelFacts, split: Split) -> Iterator[str]:
    tp = split.tensor
    if facts.n_heads and facts.n_heads % tp:
        yield f"vLLM cannot split {facts.n_heads} attention heads over {tp} ranks"
    for kv in sorted({c.n_kv_heads for x in facts.layers for c in x.caches if isinstance(c, KVCache)}):
        if kv % tp and tp % kv:
            yield f"vLLM cannot split {kv} key-value heads over {tp} ranks: one number must divide the other"
    dense = any(layer.ffn == "dense" for layer in facts.layers) if facts.n_experts else True
    if facts.d_ff and dense and facts.d_ff % tp:
        yield f"vLLM cannot split an MLP of {facts.d_ff:,} over {tp} ranks"
    slices = tp * split.data
    if facts.d_ff_expert and not split.experts and facts.d_ff_expert % slices:
        yield f"vLLM cannot split experts of {facts.d_ff_expert:,} over {slices} ranks"
    if facts.vocab_size and pad(facts.vocab_size, VOCAB_PADDING) % tp:
        yield f"vLLM cannot split a vocabulary of {pad(facts.vocab_size, VOCAB_PADDING):,} rows over {tp} ranks"
    if split.experts and not facts.n_experts:
        yield "vLLM refuses expert parallelism for a model without experts"
    if facts.n_layers and split.pipeline > facts.n_layers:
        yield f"{split.pipeline} pipeline stages are more than {facts.n_layers} layers"


def check(facts: ModelFacts, split: Split) -> None:
    """Raises WorkloadError where vLLM would refuse."""
    why = refused(facts, split)
    if why:
        raise WorkloadError(why, hint="another --tensor-parallel-size; those that vLLM takes divide all of these")


def of_stage(facts: ModelFacts, stage: Stage) -> ModelFacts:
    """The model as one stage holds it: its layers; the embedding first (and last, where tied), the head last.

    Towers are counted on every stage: where vLLM leaves them out of one is each class's own affair.
    """
    if stage.n == 1:
        return facts
    return facts.replace(
        layers=facts.layers[stage.first : stage.stop],
        tensors=tuple(t for t in facts.tensors if _holds(t.name, stage, tied=bool(facts.tied_embeddings))),
        promised=tuple(t for t in facts.promised if _holds(t.name, stage, tied=bool(facts.tied_embeddings))),
    )


def _holds(name: str, stage: Stage, *, tied: bool) -> bool:
    if TOWER.search(name):
        return True
    found = _LAYER.search(name)
    first, last = stage.index == 0, stage.index == stage.n - 1
    if found is not None:
        return stage.first <= int(found[1][:9]) < stage.stop
    if _FIRST.search(name):
        return first or (last and tied)
    return last if _LAST.search(name) else True


def split_of(tensor: int, options: Any) -> Split:
    """The split that a workload's options ask for."""
    return Split(
        tensor=tensor,
        pipeline=options.get("pipeline_parallel_size") or 1,
        data=options.get("data_parallel_size") or 1,
        experts=bool(options.get("enable_expert_parallel")),
    )


class Rank(Record):
    """One process: its device, the GPU if one is given, and the layers that it has."""

    device: str
    gpu: Gpu | None
    stage: Stage

    def until(self, stop: int) -> Rank:
        """The same with what drafts behind the model's own layers, on the last stage."""
        last = self.stage.index == self.stage.n - 1
        return self.replace(stage=self.stage.replace(stop=stop)) if last else self


def ranks_of(facts: ModelFacts, options: Any, placement: Placement) -> tuple[Split, list[Rank]]:
    """The split over the GPUs given: tensor parallelism over all of them, unless fewer were asked for."""
    split, n = split_of(placement.tensor_parallel, options), len(placement.gpus)
    if split.tensor == 1 and n > split.n_gpus:
        split = split.replace(tensor=n // split.n_gpus)
    if split.tensor < 1 or (placement.gpus and split.n_gpus > n):
        raise WorkloadError(f"{split.n_gpus} ranks need {split.n_gpus} GPUs; {n} were given")
    check(facts, split)
    parts = stages(len(facts.layers), split.pipeline)
    found = []
    for i in range(split.n_gpus):
        gpu = placement.gpus[i] if placement.gpus else None
        name = gpu.name if gpu else "gpu" if split.n_gpus == 1 else f"rank {i}"
        found.append(Rank(name, gpu, parts[i // split.tensor % split.pipeline]))
    return split, found
