"""Registry: how llama.cpp (b11434) turns each architecture's GGUF keys into layers that keep something.

One row for names that are read alike, taken from `load_arch_hparams` in the file that `ref` names and from the memory
that `llama_model::create_memory` (src/llama-model.cpp) builds. Names are those of `general.architecture`; what a field
means says `Arch` (gguf_record.py), and what a rule does its own docstring (gguf_windows.py, gguf_states.py,
gguf_caches.py). Rows are made when they are asked for: most commands ask for one.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.gguf_caches import (
    First,
    Typed,
    after_dense_lead,
    all_but_shared,
    compressed,
    glm_layers,
    main_layers,
    no_layer,
    with_gate_and_pool,
    with_pooled,
)
from inspector.architectures.gguf_record import Arch, Draft, Index, Latent, Recurrent, Sliding
from inspector.architectures.gguf_states import (
    AllButEvery,
    Scan,
    all_recur,
    beside_attention,
    delta_attention,
    lightning,
    ngram_history,
    short_convolution,
    without_kv_heads,
    without_kv_heads_and_ff,
    wkv,
)
from inspector.architectures.gguf_windows import (
    Default,
    Every,
    Switch,
    Unless0,
    all_slide,
    as_listed,
    attending,
    listed_without_streams,
    optional,
    required,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    GGUF_ARCHS: Mapping[str, Arch]

# The same keys as Llama's: as many caches as layers, of all tokens.
_PLAIN: Final = (
    "llama deci falcon grok gpt2 mpt starcoder refact bloom qwen2 qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe minicpm"
    " minicpm3 gemma starcoder2 command-r olmo openelm arctic deepseek chatglm glm4 jais2 exaone granite chameleon"
    " plm arcee hunyuan-moe hunyuan-dense smollm3 grovemoe cogvlm mistral3 maincoder pockettts paddleocr llama-embed"
    " qwen3tts t5encoder"
)
# Such decoders whose file must carry its own output.weight (no TENSOR_DUPLICATED fallback in load_arch_tensors).
_OWN_OUTPUT: Final = (
    "gptneox baichuan stablelm qwen qwen2moe phi2 plamo codeshell orion internlm2 xverse dbrx olmoe bitnet jais"
    " nemotron bailingmoe bailingmoe2 dots1 apertus minimax-m2 talkie"
)
_FULL: Final[Mapping[str, Callable[[], Arch]]] = MappingProxyType({
    _PLAIN: lambda: Arch("full"),
    _OWN_OUTPUT: lambda: Arch("full", tied=False),
    # sliding_window may be in the file and is ignored (phi3.cpp sets swa_type none; phimoe.cpp never reads it)
    "phi3": lambda: Arch("full"),
    "phimoe": lambda: Arch("full", tied=False),
    "deepseek2-ocr": lambda: Arch("full", "deepseek2ocr"),
    "ernie4_5": lambda: Arch("full", "ernie4-5"),
    "ernie4_5-moe": lambda: Arch("full", "ernie4-5-moe"),
    "glm4moe": lambda: Arch("full", "glm4-moe"),
    "granitemoe": lambda: Arch("full", "granite-moe"),
    "hrm_text": lambda: Arch("full", "hrm-text"),
    "hunyuan_vl": lambda: Arch("full", "hunyuan-vl"),
    "hy_v3": lambda: Arch("full", "hy-v3"),
    "pangu-embedded": lambda: Arch("full", "pangu-embed"),
    "seed_oss": lambda: Arch("full", "seed-oss"),
    "eagle3": lambda: Arch("full", tied=False, draft=Draft(("token_embd.weight", "output.weight"))),
    "gptj": lambda: Arch("full", tied=False, loads=False),
    "graniteswitch": lambda: Arch("full", "granite-switch", router=True),
    "nanbeige": lambda: Arch("full", loops=True),
    "t5": lambda: Arch("encoder-decoder", cross=True),
})  # fmt: skip

_SLIDING: Final[Mapping[str, Callable[[], Arch]]] = MappingProxyType({
    "afmoe": lambda: Arch("sliding", sliding=Sliding(optional, Every(4))),
    "cohere2": lambda: Arch("sliding", sliding=Sliding(required, Every(4))),
    "cohere2moe": lambda: Arch("sliding", sliding=Sliding(required, Every(4, dense_first=True))),
    # the embedding stands in for an output of its own
    "dflash": lambda: Arch(
        "sliding", sliding=Sliding(optional, listed_without_streams), draft=Draft(("token_embd.weight",)),
    ),
    "exaone4": lambda: Arch("sliding", sliding=Sliding(Default(4096), Every(4), only_n_layers=64)),
    "exaone-moe muse-glimmer": lambda: Arch("sliding", tied=False, sliding=Sliding(required, Every(4))),
    "gemma2": lambda: Arch("sliding", sliding=Sliding(Default(4096), Every(2))),
    "gemma3": lambda: Arch("sliding", sliding=Sliding(optional, Every(6))),
    "gemma3n": lambda: Arch("sliding", sliding=Sliding(required, Every(5)), shared_from=First(20)),
    "gemma4": lambda: Arch("sliding", sliding=Sliding(required, as_listed), shared_from=all_but_shared),
    # its layers read the caches of the model that it drafts for
    "gemma4-assistant": lambda: Arch(
        "sliding", sliding=Sliding(required, as_listed), shared_from=First(0), draft=Draft(),
    ),
    "gpt-oss": lambda: Arch("sliding", "openai-moe", tied=False, sliding=Sliding(required, Every(2))),
    "granite_swa": lambda: Arch("sliding", "granite-swa", sliding=Sliding(required, as_listed)),
    "laguna": lambda: Arch("sliding", sliding=Sliding(optional, Every(4, dense_first=True))),
    "llama4": lambda: Arch("chunked", sliding=Sliding(Unless0(8192), Every(4), chunked=True)),
    "mimo2 step35 maple": lambda: Arch("sliding", tied=False, sliding=Sliding(required, as_listed)),
    "olmo2 mellum": lambda: Arch("sliding", tied=False, sliding=Sliding(optional, Every(4))),
    "plamo3": lambda: Arch("sliding", sliding=Sliding(optional, Every(8))),
    "smallthinker": lambda: Arch("sliding", sliding=Sliding(Switch(4096), Every(4, dense_first=True))),
    "spark2_5": lambda: Arch("sliding", "spark2-5", sliding=Sliding(required, as_listed)),
})  # fmt: skip

_LATENT: Final[Mapping[str, Callable[[], Arch]]] = MappingProxyType({
    "deepseek2 mistral4": lambda: Arch("latent", latent=Latent()),
    "deepseek32": lambda: Arch("sparse", latent=Latent(only=True), index=Index(main_layers)),
    "deepseek4": lambda: Arch(
        "compressed", tied=False, sliding=Sliding(required, all_slide), attention=compressed,
        nextn_kept=True, nextn_tensor="nextn.eh_proj.weight",
    ),
    "dots3note": lambda: Arch(
        "sparse", latent=Latent(only=True), index=Index(Typed(no_layer, needs_top_k=True, any_length=True)),
        sliding=Sliding(required, as_listed),
    ),
    "glm-dsa": lambda: Arch("sparse", latent=Latent(only=True), index=Index(Typed(glm_layers))),
    "hy_v4": lambda: Arch(
        "sparse", "hy-v4", tied=False, latent=Latent(only=True), index=Index(Typed(no_layer, needs_top_k=True)),
        nextn_kept=True,
    ),
    # its selector's cache is no MLA cache, so it has values too (llama-kv-cache-msa.cpp)
    "minimax-m3": lambda: Arch("sparse", tied=False, index=Index(after_dense_lead, values=True), nextn_kept=True),
})  # fmt: skip

_RECURRENT: Final[Mapping[str, Callable[[], Arch]]] = MappingProxyType({
    "mamba": lambda: Arch("recurrent", recurrent=Recurrent(all_recur, Scan("mamba1", grouped=False))),
    "mamba2": lambda: Arch("recurrent", recurrent=Recurrent(all_recur, Scan("mamba2"))),
    "rwkv6 rwkv6qwen2 rwkv7 arwkv7": lambda: Arch("recurrent", tied=False, recurrent=Recurrent(all_recur, wkv)),
    "bailingmoe3": lambda: Arch(
        "hybrid", recurrent=Recurrent(without_kv_heads, delta_attention), latent=Latent(only=True), nextn_kept=True,
    ),
    "falcon-h1": lambda: Arch("hybrid", recurrent=Recurrent(beside_attention, Scan("mamba2")), nextn_kept=True),
    "glm5-next": lambda: Arch(
        "hybrid", tied=False, recurrent=Recurrent(without_kv_heads, delta_attention), latent=Latent(only=True),
        v_is_rank=True, index=Index(Typed(main_layers), parts=with_gate_and_pool),
    ),
    "granitehybrid": lambda: Arch(
        "hybrid", "granite-hybrid", recurrent=Recurrent(without_kv_heads, Scan("mamba2")), nextn_kept=True,
    ),
    "jamba": lambda: Arch(
        "hybrid", recurrent=Recurrent(without_kv_heads, Scan("mamba1", grouped=False)), nextn_kept=True,
    ),
    "kimi-linear": lambda: Arch(
        "hybrid", tied=False, recurrent=Recurrent(without_kv_heads, delta_attention), latent=Latent(required=True),
        nextn_kept=True,
    ),
    "kimi-k3": lambda: Arch(
        "hybrid", tied=False, recurrent=Recurrent(without_kv_heads, delta_attention), latent=Latent(required=True),
        v_is_rank=True, nextn_kept=True,
    ),
    "lfm2": lambda: Arch(
        "hybrid", sliding=Sliding(optional, attending), recurrent=Recurrent(without_kv_heads, short_convolution),
        nextn_kept=True,
    ),
    "lfm2moe": lambda: Arch("hybrid", recurrent=Recurrent(without_kv_heads, short_convolution), nextn_kept=True),
    "minimax-01": lambda: Arch("hybrid", recurrent=Recurrent(AllButEvery(8), lightning)),
    "nemotron_h": lambda: Arch(
        "hybrid", "nemotron-h", recurrent=Recurrent(without_kv_heads_and_ff, Scan("mamba2")), nextn_kept=True,
    ),
    "nemotron_h_moe": lambda: Arch(
        "hybrid", "nemotron-h-moe", recurrent=Recurrent(without_kv_heads_and_ff, Scan("mamba2")), nextn_kept=True,
    ),
    "plamo2": lambda: Arch("hybrid", recurrent=Recurrent(without_kv_heads, Scan("mamba1")), nextn_kept=True),
    "qwen3next qwen35 qwen35moe": lambda: Arch("hybrid", recurrent=Recurrent(AllButEvery(4), Scan("gdn"))),
    "qwen4exp": lambda: Arch(
        "hybrid", recurrent=Recurrent(AllButEvery(4), Scan("gdn"), beside=ngram_history),
        index=Index(main_layers, parts=with_pooled),
    ),
})  # fmt: skip

_ENCODERS: Final[Mapping[str, Callable[[], Arch]]] = MappingProxyType({
    "bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert": lambda: Arch(
        "encoder", tied=False, caches=False,
    ),
    "clef": lambda: Arch("encoder", caches=False),
    # embedding_length is the output's width
    "wavtokenizer-dec": lambda: Arch("encoder", tied=False, caches=False, width="features_length"),
    "modern-bert": lambda: Arch(
        "encoder", tied=False, caches=False, sliding=Sliding(optional, Every(3, dense_first=True)),
    ),
    "gemma-embedding": lambda: Arch(
        "encoder", caches=False, causal=False, sliding=Sliding(required, Every(6)),
    ),
    "dream llada rnd1": lambda: Arch("diffusion", caches=False, causal=False),
    "llada-moe": lambda: Arch("diffusion", tied=False, caches=False, causal=False),
})  # fmt: skip

_BY_NAME: Final = {
    name: row
    for rows in (_FULL, _SLIDING, _LATENT, _RECURRENT, _ENCODERS)
    for names, row in rows.items()
    for name in names.split()
}


def gguf_arch(name: str) -> Arch | None:
    """The row of one architecture, under its name, or None for one that is not known."""
    row = _BY_NAME.get(name)
    return row().replace(name=name) if row is not None else None


def __getattr__(attribute: str) -> Mapping[str, Arch]:
    """`GGUF_ARCHS`: all rows by name."""
    if attribute == "GGUF_ARCHS":
        return MappingProxyType({name: row().replace(name=name) for name, row in _BY_NAME.items()})
    raise AttributeError(attribute)
