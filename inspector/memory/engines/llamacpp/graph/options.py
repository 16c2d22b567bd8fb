"""What an architecture's graph does in a way of its own: one record a row of `archs.py`; a misspelt option is an error.

Source: llm_graph_context (src/llama-graph.cpp) for what all share, src/models/*.cpp for who differs (b11434).
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Act = Literal["silu", "gelu", "relu", "relu2", "oai", "glu"]
    Gating = Literal["softmax", "sigmoid", "softmax_weight", "softplus"]
    NormKind = Literal["rms", "layer"]
    When = Literal["never", "always", "key"]  # "key": where the file's key for it is there and not 0


class Norms(Record):
    """Norms of a layer, by the names of their weights within it and without ".weight"; "": there is none.

    `kind`: root mean square or LayerNorm, in the layers and at the end (build_norm). `before`: attention and
    feed-forward read normed inputs (not in olmo2.cpp, exaone4.cpp). `attention_after`: norm of what attention gives,
    before the residual is added (gemma2.cpp, grok.cpp), and `ffn_after` of what the feed-forward gives. `ffn`: the norm
    before the feed-forward (dbrx.cpp and openai-moe.cpp name it after attention). `output`: the norm after the last
    layer (lfm2.cpp calls it by another's name).
    """

    kind: NormKind = "rms"
    before: bool = True
    attention_after: str = ""
    ffn: str = "ffn_norm"
    ffn_after: str = ""
    output: str = "output_norm"


class Experts(Record):
    """How routed experts are chosen and weighed (build_moe_ffn).

    `gating`: what makes weights of the router's scores; with `gating_key` the file's `expert_gating_func` goes before
    it (load_arch_hparams of deepseek2.cpp, dots1.cpp). `norm_weights`: the weights of the chosen are divided by their
    sum, "key": where `expert_weights_norm` says so (glm4-moe.cpp). `weigh_first`: inputs are weighed, not outputs
    (llama4.cpp). `exact_down`: what goes into the experts' last product must stay f32 (build_moe_ffn, for mistral4).
    `act`: the experts' activation, `shared_act`: the shared expert's; "": the dense layers' (phi3.cpp,
    granite-swa.cpp differ).
    """

    gating: Gating = "softmax"
    gating_key: bool = False
    norm_weights: When = "always"
    weigh_first: bool = False
    exact_down: bool = False
    act: Act | Literal[""] = ""
    shared_act: Act | Literal[""] = ""


class Options(Record):
    """One architecture's options; the defaults are Llama's (llama.cpp).

    Inputs. `embed`: embeddings as they are, scaled by one factor (gemma.cpp), by one of each token (gemma3.cpp), or
    normed (bloom.cpp, without weights muse-glimmer.cpp). `embed_scale`: the factor where the key `embedding_scale`
    is absent, 0 for none; None: the key is not read (build_inp_embd). `positions`: how many a token, "sections":
    four where `rope.dimension_sections` has two (llama_hparams::use_mrope). `learned_positions`: a table of them is
    added (gpt2.cpp). `deepstack`: deeper image features come with the embeddings, as many as `n_deepstack_layers`
    counts (qwen3vl.cpp) or as `deepstack_mapping` names levels (granite.cpp).

    Attention. `rope`: which layers have rotary positions; "sliding": those with a window, or all where none has one
    (cohere2.cpp), "step": all but every `no_rope_layer_step`-th (smollm3.cpp). `rope_factors`: which of them take
    factors where the file has them (get_rope_factors); "full": those without a window (gemma4.cpp). `qk_norm`: queries
    and keys are normed before rotation, after it (hunyuan-dense.cpp), or before they are cut into heads (olmo2.cpp), by
    norms of `qk_kind`. `q_scale`: queries are scaled by a constant (phi2.cpp) or by a factor of their position
    (build_inp_attn_scale). `softcap_scores`: attention scores go through tanh (gemma2.cpp, grok.cpp). `clamp_kqv`: the
    key `attention.clamp_kqv` is read (dbrx.cpp). `gate`: attention's output is gated, by a projection made before or
    after attention (afmoe.cpp, step35.cpp). `attends`: False where no layer does, so that there is no key-value cache.

    Layers. `parallel`: attention and feed-forward read one norm, and what is added first: feed-forward and residual
    (command-r.cpp), feed-forward and attention (plamo.cpp), attention and feed-forward (phi2.cpp). `residual_first`:
    the residual is the first operand of a layer's last addition (phi3.cpp). `residual_scale`: the factor where the key
    `residual_scale` is absent; 0: none (granite.cpp, minicpm.cpp). `act`: the feed-forward's activation (build_ffn);
    "glu": the halves of one projection gate each other. `clamps_apart`: limits of gated activations (the
    `swiglu_clamp_` keys) are steps of their own (step35.cpp). `norms`, `experts`: as above.

    Outputs. `draft_reads`: hidden states of all tokens are kept for a draft head, those after the last layer or
    those after the last norm (t_h_nextn). `logit_scale`, `softcap`: whether logits are scaled, and go through tanh
    (`logit_scale`, `final_logit_softcapping`). `encoder`: the graph ends with embeddings, without logits.
    """

    embed: Literal["plain", "scale", "token_scale", "norm"] = "plain"
    embed_scale: float | None = None
    positions: Literal["none", "one", "four", "sections"] = "one"
    learned_positions: bool = False
    deepstack: Literal["none", "count", "mapping"] = "none"
    rope: Literal["all", "none", "sliding", "step"] = "all"
    rope_factors: Literal["none", "all", "full"] = "none"
    qk_norm: Literal["before", "after", "flat"] = "before"
    qk_kind: NormKind = "rms"
    q_scale: Literal["none", "constant", "position"] = "none"
    softcap_scores: bool = False
    clamp_kqv: bool = False
    gate: Literal["none", "before", "after"] = "none"
    attends: bool = True
    parallel: Literal["no", "ffn_residual", "ffn_attention", "attention_ffn"] = "no"
    residual_first: bool = False
    residual_scale: float = 0.0
    act: Act = "silu"
    clamps_apart: bool = False
    norms: Norms = Norms()
    experts: Experts = Experts()
    draft_reads: Literal["none", "layers", "norm"] = "none"
    logit_scale: When = "never"
    softcap: When = "never"
    encoder: bool = False


class Row(Record):
    """Who builds an architecture's graph: a module of this package, a class in it, and the options that it reads.

    `compared`: False where llama.cpp's own graph could not be printed, so that figures are graded "modelled".
    """

    module: str
    builder: str
    options: Options = Options()
    compared: bool = True
