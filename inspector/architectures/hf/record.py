"""What can be said of one model type of transformers: one typed record, which every stage reads its part of."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inspector.architectures.hf_caches import Builder
    from inspector.architectures.hf_config import HfConfig


FIRST_EXPERT = "experts.0"  # how a tensor's name says that it stands for every expert of its layer


class ExpectedTensor(Record):
    """A tensor that a config promises. `role`: the words of architectures/roles.py; "expert" is a routed one.

    `copies`: how many of them there are, alike but for the number in the name, which is the first one's (experts).
    """

    name: str
    shape: tuple[int, ...]
    role: str
    copies: int = 1

    @property
    def n_elements(self) -> int:
        """Elements of all copies."""
        n = self.copies
        for dim in self.shape:
            n *= dim
        return n


class Layout(Record):
    """How the tensors of one architecture's layers differ from Llama's (read by hf_tensors.py and hf_blocks.py).

    `norms`: names of a layer's norms; `ln`: they are LayerNorms with a bias; `final`: the last norm ("" for none).
    `qkv_bias`/`o_bias`: always there; the `*_key` fields name config keys that switch a part on. `qk_norm`: "head"
    (one weight a head dimension), "full" (the whole projection). `mlp`: gated, fused (gate and up in one), plain
    (up and down), fc, c_fc, w123, xielu, shared (granite); `moe`: the layout of routed experts. `gated_q`: the
    query carries an output gate. `o_bias_key`: what switches the output projection's bias (None: `bias_key`,
    "": nothing).
    `head_norms`: what `head_norm_key` switches on: shared (one weight a head dimension), head (a weight a head),
    module (a module a head). `indexer`: latent attention has one. `mixer`: (config, prefix) → tensors of what
    linear layers have for attention, and hybrid ones beside it, under `mixer_at`.
    """

    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    ln: bool = False
    final: str = "model.norm"
    qkv_bias: bool = False
    o_bias: bool = False
    bias_key: str = "attention_bias"
    qkv_bias_key: str = ""
    o: str = "o_proj"
    fused_qkv: bool = False
    qk_norm: str = ""
    qk_norm_names: tuple[str, str] = ("q_norm", "k_norm")
    head_norm_key: str = ""
    mlp: str = "gated"
    mlp_bias: bool = False
    mlp_bias_key: str = "mlp_bias"
    mlp_at: str = "mlp"
    moe: str = ""
    mla: bool = False
    sinks: bool = False
    gated_q: bool = False
    head_bias: bool = False
    head_bias_key: str = ""
    parallel_key: str = ""
    o_bias_key: str | None = None
    head_norms: str = "shared"
    indexer: bool = False
    mixer: Callable[[HfConfig, str], Iterator[ExpectedTensor]] | None = None
    mixer_at: str = "mamba."


class Activations(Record):
    """How one modeling file holds its tensors in a prefill (read by transformers' estimate).

    H: the hidden width; e: bytes of the compute dtype. `residuals`: tensors of H alive in the MLP (embeddings,
    layer input, residual, normed); `attention`: the same in attention; `mlp`: tensors of the MLP's width at its
    peak (gated 3, fused gate and up 4, plain 2); `rope_f32`: cosines and sines stay in float32; `positions`: bytes
    a token of position ids and masks; `copies`: tensors of logits at once; `moe`: split (grouped matmul), float32
    (weighted in float32), gpt_oss, or dense (every expert sees every token); `shared`: tensors of H of shared
    experts alive beside the routed ones; `scores`: (multiples of e, further bytes) a score in eager attention;
    `qkv`: what else eager attention holds. `fixed_k`: experts a token whatever the config says. `two_masks`: eager
    attention makes a full and a sliding mask whether or not a layer slides.
    """

    residuals: int = 4
    attention: int = 3
    mlp: float = 3.0
    rope_f32: bool = False
    positions: int = 8
    copies: int = 1
    moe: str = "split"
    shared: int = 0
    scores: tuple[int, int] = (1, 8)
    qkv: str = "q"
    fixed_k: int | None = None
    two_masks: bool = False


class ModelType(Record):
    """One model type: everything that the stages need to know of it beyond its config.json.

    What its layers keep. `layer_types`: (config, layers) → one transformers layer type a layer, where the file
    lists none (None: hf_types.by_window); `forced`: what the class does even to a file's own list. `attention`,
    `state`: (config, layer type, index) → caches; None is keys and values in every layer, and no state. `encoder`:
    keeps nothing and sees both ways. `seq2seq`: a decoder that also keeps the encoder's keys and values; the names
    are the keys of its layer count and its heads. `shared`: the last `num_kv_shared_layers` reuse others' keys and
    values. `listed`: what the file's own list of layer types means, where it does not say it plainly; `n_layers`:
    config → the layers that the weights have, where `num_hidden_layers` says something else; `copies`: (config,
    layers) → how often each layer runs, and stores, in one pass. `generic`: what its layers keep has no rule here,
    and is read off the usual keys. `note`: words for the reader.

    What its weights are. `experts`: config → routed experts of a layer and how many a token uses; `moe_layers`:
    (config, layers) → whether each routes (None: all or none); `layout`: how its tensors differ from Llama's;
    `tensors`: config → all of them, where they are laid out in a way of their own. `d_ff`: config → the MLP's
    width, where it is not what a key says; `ffn_multiple`: the same in hidden widths, where no key says it.
    `routing_bias`: the router's correction is a parameter, where elsewhere it is a buffer; `unmarked_nextn`: layers
    past `num_hidden_layers` predict ahead though no key counts them.

    What engines do with it. transformers: `activations` (None: a range; `activations_known` False: measured, and not
    like any rule), `eager`: attention by default, where the class does not declare sdpa;
    `rotary`: share of a head that is rotated where the config does not say; `two_rotaries`: one for sliding layers,
    one for full ones; `plain_experts`: experts as wide as intermediate_size whatever else the config says;
    `broadcast_key`: the flag under which each key-value head is copied to all its queries before it is cached.
    vLLM: `vllm_indexer`: how it keeps pages of an indexer's keys: "packed" in bytes with scales (DeepSeek's), "plain"
    in bfloat16, "" not at all or in a way without a rule; `vllm_block`: the only block that its kernels take;
    `vllm_state_dtype`: the key that names the
    precision of its states under `auto`, and the default ("": the model's own).
    """

    layer_types: Callable[[HfConfig, int], Sequence[str]] | None = None
    forced: Callable[[Sequence[str]], Sequence[str]] | None = None
    attention: Builder | None = None
    state: Builder | None = None
    encoder: bool = False
    seq2seq: tuple[str, str] | None = None
    shared: bool = False
    listed: Callable[[Sequence[str]], Sequence[str]] | None = None
    n_layers: Callable[[HfConfig], int] | None = None
    copies: Callable[[HfConfig, int], Sequence[int]] | None = None
    generic: bool = False
    note: str = ""
    experts: Callable[[HfConfig], tuple[int | None, int | None]] | None = None
    moe_layers: Callable[[HfConfig, int], Sequence[bool]] | None = None
    layout: Layout | None = None
    tensors: Callable[[HfConfig], Iterator[ExpectedTensor]] | None = None
    d_ff: Callable[[HfConfig], int | None] | None = None
    ffn_multiple: int = 0
    routing_bias: bool = False
    unmarked_nextn: bool = False
    activations: Activations | None = None
    activations_known: bool = True
    eager: bool = False
    rotary: float = 1.0
    two_rotaries: bool = False
    plain_experts: bool = False
    broadcast_key: str = ""
    vllm_indexer: str = "packed"
    vllm_block: int = 0
    vllm_state_dtype: tuple[str, str] | None = None


def named(names: str, record: ModelType) -> dict[str, ModelType]:
    """One record for several model types, whose names stand in one string with spaces between."""
    return dict.fromkeys(names.split(), record)
