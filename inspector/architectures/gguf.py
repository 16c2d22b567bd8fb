"""Registry: how llama.cpp (b11434) turns each architecture's GGUF keys into layers that keep something.

One row an architecture, read off `load_arch_hparams` in the file that `ref` names and the memory that
`llama_model::create_memory` (src/llama-model.cpp) builds for it. Names are those of `general.architecture`.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    GGUF_ARCHS: Mapping[str, Arch]


class Sliding(Record):
    """Which layers see a window only.

    `window`: what the key `attention.sliding_window` means: "required", "optional" (absent or 0: no sliding layers),
    "default" (absent: `tokens`), "switch" (over 0 turns sliding on, at `tokens`) or "chunked" (absent or over 0:
    chunks of `tokens`). The pattern key is an array of truth values, or a number that replaces `period`: the last of
    every `period` layers (the first, when `dense_first`) is full; `array`: without the array llama.cpp refuses.
    `only_n_layers`: the rule holds for models of that many layers. `attention_only`: every layer with attention slides.
    """

    window: str
    period: int = 0
    tokens: int = 0
    dense_first: bool = False
    array: bool = False
    only_n_layers: int = 0
    attention_only: bool = False


class Recurrent(Record):
    """Which layers keep a recurrent state, and of what family.

    `layers`: "all", "every" (beside attention), "no_kv_heads", "no_kv_heads_no_ff" or "interval" (all but every
    `interval`-th, unless `attention.recurrent_layers` says otherwise). `state`: mamba1, mamba2, gdn, rwkv, shortconv,
    kda or lightning.
    """

    layers: str
    state: str
    interval: int = 0


class Arch(Record):
    """One architecture. `plan` sums it up: full, sliding, chunked, latent, sparse, recurrent, hybrid, encoder, …

    `latent`: "" (no MLA), "keys" (when both MLA head lengths are given) or "always"; `v_is_rank`: the value length is
    the latent's rank. `index`: "" or who keeps indexer keys: "all", "types" (as `attention.indexer.types` says),
    "types_optional" (the same, by default all), "sparse" (from `leading_dense_block_count` on) or "attention".
    `caches`: False where llama.cpp builds no memory. `kv_from_start`: only so many first layers have a cache of their
    own. `tied`: a missing `output.weight` is replaced by `token_embd.weight`. `nextn_kept`: caches cover the
    multi-token prediction layers too. `needs_parent`: runs only beside another model.
    """

    name: str
    plan: str
    ref: str
    sliding: Sliding | None = None
    recurrent: Recurrent | None = None
    latent: str = ""
    v_is_rank: bool = False
    index: str = ""
    caches: bool = True
    causal: bool | None = None
    kv_from_start: int | str = ""
    tied: bool = True
    nextn_kept: bool = False
    needs_parent: bool = False
    extra: str = ""


def gguf_arch(name: str) -> Arch | None:
    """The row of one architecture, or None for one that is not known. Rows are made when they are asked for."""
    spec = _SPECS.get(name)
    if spec is None:
        return None
    plan, file, options = spec
    return Arch(name, plan, f"src/models/{file}.cpp", tied=name not in _UNTIED, **options)  # type: ignore[arg-type]


def __getattr__(attribute: str) -> Mapping[str, Arch]:
    """`GGUF_ARCHS`: all rows by name."""
    if attribute == "GGUF_ARCHS":
        return MappingProxyType({name: row for name in _SPECS if (row := gguf_arch(name)) is not None})
    raise AttributeError(attribute)


def _specs() -> dict[str, tuple[str, str, dict[str, object]]]:
    specs: dict[str, tuple[str, str, dict[str, object]]] = {}

    def add(plan: str, names: str, ref: str = "", **options: object) -> None:
        for name in names.split():
            specs[name] = (plan, ref or name, options)

    _add_attention(add)
    _add_sliding(add)
    _add_latent(add)
    _add_recurrent(add)
    _add_encoders(add)
    return specs


if TYPE_CHECKING:
    from typing import Protocol

    class _Add(Protocol):
        def __call__(self, plan: str, names: str, ref: str = "", **options: object) -> None: ...


# Decoders whose file must carry its own output.weight (no TENSOR_DUPLICATED fallback in load_arch_tensors).
_UNTIED: Final = frozenset(
    [
        "apertus",
        "baichuan",
        "bailingmoe",
        "bailingmoe2",
        "bitnet",
        "codeshell",
        "dbrx",
        "deepseek4",
        "dots1",
        "eagle3",
        "exaone-moe",
        "gpt-oss",
        "gptj",
        "gptneox",
        "hy_v4",
        "internlm2",
        "jais",
        "kimi-k3",
        "kimi-linear",
        "glm5-next",
        "llada-moe",
        "maple",
        "mellum",
        "mimo2",
        "minimax-m2",
        "minimax-m3",
        "muse-glimmer",
        "nemotron",
        "olmo2",
        "olmoe",
        "orion",
        "phi2",
        "phimoe",
        "plamo",
        "qwen",
        "qwen2moe",
        "rwkv6",
        "rwkv6qwen2",
        "rwkv7",
        "arwkv7",
        "stablelm",
        "step35",
        "talkie",
        "wavtokenizer-dec",
        "xverse",
        "bert",
        "modern-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "clef",
    ]
)


def _add_attention(add: _Add) -> None:
    add(
        "full",
        "llama deci falcon grok gpt2 gptneox mpt baichuan starcoder refact bloom stablelm qwen qwen2 qwen2moe qwen2vl"
        " qwen3 qwen3moe qwen3vl qwen3vlmoe phi2 plamo codeshell orion internlm2 minicpm minicpm3 gemma starcoder2"
        " xverse command-r dbrx olmo olmoe openelm arctic deepseek chatglm glm4 bitnet jais jais2 nemotron exaone"
        " granite chameleon plm bailingmoe bailingmoe2 dots1 arcee hunyuan-moe smollm3 grovemoe apertus minimax-m2"
        " cogvlm mistral3 maincoder talkie pockettts",
    )
    # sliding_window may be in the file and is ignored (phi3.cpp sets swa_type none; phimoe.cpp never reads it)
    add("full", "phi3 phimoe")
    for name, ref in (
        ("deepseek2-ocr", "deepseek2ocr"),
        ("glm4moe", "glm4-moe"),
        ("granitemoe", "granite-moe"),
        ("ernie4_5", "ernie4-5"),
        ("ernie4_5-moe", "ernie4-5-moe"),
        ("hunyuan-dense", "hunyuan-dense"),
        ("hunyuan_vl", "hunyuan-vl"),
        ("hy_v3", "hy-v3"),
        ("seed_oss", "seed-oss"),
        ("pangu-embedded", "pangu-embed"),
        ("paddleocr", "paddleocr"),
        ("llama-embed", "llama-embed"),
        ("qwen3tts", "qwen3tts"),
    ):
        add("full", name, ref)
    add("full", "hrm_text", "hrm-text")
    add("full", "gptj", "none", extra="unloadable")  # a name without a model behind it
    add("full", "nanbeige", extra="loops")
    add("full", "graniteswitch", "granite-switch", extra="router")
    add("full", "eagle3", needs_parent=True)
    add("sliding", "dflash", "dflash", sliding=Sliding("optional", array=True), needs_parent=True, extra="dflash")


def _add_sliding(add: _Add) -> None:
    add("sliding", "gemma2", sliding=Sliding("default", 2, 4096))
    add("sliding", "gemma3", sliding=Sliding("optional", 6))
    add("sliding", "gemma3n", sliding=Sliding("required", 5), kv_from_start=20)
    add("sliding", "gemma4", sliding=Sliding("required", array=True), kv_from_start="attention.shared_kv_layers")
    add("sliding", "gemma4-assistant", sliding=Sliding("required", array=True), needs_parent=True)
    add("sliding", "cohere2", sliding=Sliding("required", 4))
    add("sliding", "cohere2moe", sliding=Sliding("required", 4, dense_first=True))
    add("sliding", "gpt-oss", "openai-moe", sliding=Sliding("required", 2))
    add("sliding", "olmo2 afmoe mellum", sliding=Sliding("optional", 4))
    add("sliding", "exaone4", sliding=Sliding("default", 4, 4096, only_n_layers=64))
    add("sliding", "exaone-moe muse-glimmer", sliding=Sliding("required", 4))
    add("sliding", "plamo3", sliding=Sliding("optional", 8))
    add("sliding", "laguna", sliding=Sliding("optional", 4, dense_first=True))
    add("sliding", "smallthinker", sliding=Sliding("switch", 4, 4096, dense_first=True))
    add("sliding", "mimo2 step35 maple", sliding=Sliding("required", array=True))
    add("sliding", "granite_swa", "granite-swa", sliding=Sliding("required", array=True))
    add("sliding", "spark2_5", "spark2-5", sliding=Sliding("required", array=True))
    add("chunked", "llama4", sliding=Sliding("chunked", 4, 8192))


def _add_latent(add: _Add) -> None:
    add("latent", "deepseek2", latent="keys")
    add("latent", "mistral4", latent="keys")
    add("sparse", "deepseek32", latent="keys", index="all")
    add("sparse", "glm-dsa", latent="keys", index="types_optional")
    add("sparse", "hy_v4", "hy-v4", latent="always", index="types", nextn_kept=True)
    add("sparse", "dots3note", latent="always", index="types", sliding=Sliding("required", array=True))
    add("sparse", "minimax-m3", index="sparse", nextn_kept=True)
    add("compressed", "deepseek4", sliding=Sliding("required", 0), extra="compressed", nextn_kept=True)


def _add_recurrent(add: _Add) -> None:
    kv_zero = "no_kv_heads"
    add("recurrent", "mamba", recurrent=Recurrent("all", "mamba1"))
    add("recurrent", "mamba2", recurrent=Recurrent("all", "mamba2"))
    add("recurrent", "rwkv6 rwkv6qwen2 rwkv7 arwkv7", recurrent=Recurrent("all", "rwkv"))
    add("hybrid", "jamba", recurrent=Recurrent(kv_zero, "mamba1"), nextn_kept=True)
    add("hybrid", "plamo2", recurrent=Recurrent(kv_zero, "mamba1"), nextn_kept=True)
    add("hybrid", "granitehybrid", "granite-hybrid", recurrent=Recurrent(kv_zero, "mamba2"), nextn_kept=True)
    add("hybrid", "falcon-h1", recurrent=Recurrent("every", "mamba2"), nextn_kept=True)
    mixed = Recurrent("no_kv_heads_no_ff", "mamba2")
    add("hybrid", "nemotron_h", "nemotron-h", recurrent=mixed, nextn_kept=True)
    add("hybrid", "nemotron_h_moe", "nemotron-h-moe", recurrent=mixed, nextn_kept=True)
    short = Recurrent(kv_zero, "shortconv")
    add("hybrid", "lfm2", sliding=Sliding("optional", attention_only=True), recurrent=short, nextn_kept=True)
    add("hybrid", "lfm2moe", recurrent=short, nextn_kept=True)
    add("hybrid", "qwen3next qwen35 qwen35moe", recurrent=Recurrent("interval", "gdn", 4))
    add("hybrid", "minimax-01", recurrent=Recurrent("interval", "lightning", 8))
    kda = Recurrent(kv_zero, "kda")
    add("hybrid", "kimi-linear bailingmoe3", latent="always", recurrent=kda, nextn_kept=True)
    add("hybrid", "kimi-k3", latent="always", recurrent=kda, nextn_kept=True, v_is_rank=True)
    add("hybrid", "glm5-next", latent="always", recurrent=kda, index="types_optional", v_is_rank=True, extra="kpool")
    add("hybrid", "qwen4exp", recurrent=Recurrent("interval", "gdn", 4), index="attention", extra="ple")


def _add_encoders(add: _Add) -> None:
    add("encoder", "bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert", caches=False)
    add("encoder", "modern-bert", sliding=Sliding("optional", 3, dense_first=True), caches=False)
    add("encoder", "gemma-embedding", sliding=Sliding("required", 6), caches=False, causal=False)
    add("encoder", "wavtokenizer-dec", caches=False)
    add("encoder", "clef", caches=False)
    add("diffusion", "dream llada llada-moe rnd1", caches=False, causal=False)
    add("encoder-decoder", "t5", extra="cross")
    add("full", "t5encoder")


_SPECS: Final = _specs()
