"""Which builder and which options each architecture's graph takes (src/models/*.cpp, b11434)."""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.graph.options import Experts, Norms, Options, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

LAYER = Norms("layer")
POSTS = Norms(attention_after="post_attention_norm", ffn_after="post_ffw_norm")
POSTS_ONLY = Norms(before=False, attention_after="post_attention_norm", ffn_after="post_ffw_norm")
LATE = Norms(ffn="post_attention_norm")
GROK = Norms(attention_after="attn_output_norm", ffn_after="layer_output_norm")

LFM2 = Norms(output="token_embd_norm")

UNNORMED = Experts(norm_weights="never")
KEYED = Experts(gating_key=True, norm_weights="key")
KEYED_SIGMOID = Experts("sigmoid", gating_key=True, norm_weights="key")
SIGMOID_OR_KEY = Experts("sigmoid", gating_key=True)

FACTORS = Options(rope_factors="all")
GELU_MLP = Options(norms=LAYER, act="gelu")
LEARNED = Options(norms=LAYER, act="gelu", rope="none", learned_positions=True)
GRANITE = Options(logit_scale="key", embed_scale=0.0, rope_factors="all")
MROPE = Options(positions="four")
QWEN3VL = Options(positions="four", deepstack="count")
RWKV = Options(embed="norm", norms=LAYER, attends=False)
NO_POSITIONS = Options(positions="none", rope="none")

ARCHS: Final[Mapping[str, Row]] = MappingProxyType({
    "llama": Row("decoder", "Decoder", FACTORS),
    "afmoe": Row("variants", "GatedAttention", Options(
        norms=POSTS, experts=KEYED, embed="scale", rope="step", gate="before")),
    "apertus": Row("decoder", "Decoder", FACTORS),
    "arcee": Row("decoder", "Decoder", Options(act="relu2", rope_factors="all")),
    "arctic": Row("experts", "Arctic"),
    "baichuan": Row("variants", "Baichuan"),
    "bailingmoe": Row("decoder", "Decoder", Options(experts=Experts(norm_weights="key"), rope_factors="all")),
    "bailingmoe2": Row("decoder", "Decoder", Options(experts=KEYED)),
    "bert": Row("encoder", "Bert", Options(act="gelu", learned_positions=True, rope="none")),
    "bitnet": Row("variants", "Bitnet"),
    "bloom": Row("decoder", "Decoder", Options(norms=LAYER, act="gelu", embed="norm", positions="none", rope="none")),
    "chameleon": Row("variants", "Chameleon", Options(qk_kind="layer")),
    "chatglm": Row("decoder", "Decoder", Options(act="glu")),
    "codeshell": Row("decoder", "Decoder", GELU_MLP),
    "cohere2": Row("decoder", "Decoder", Options(
        norms=LAYER, rope="sliding", rope_factors="all", parallel="ffn_residual", logit_scale="key")),
    "cohere2moe": Row("experts", "Cohere2Moe", Options(
        norms=LAYER, rope_factors="all", parallel="ffn_residual", experts=KEYED, draft_reads="norm",
        logit_scale="key")),
    "cogvlm": Row("variants", "CogVlm"),
    "command-r": Row("decoder", "Decoder", Options(
        norms=LAYER, qk_kind="layer", parallel="ffn_residual", logit_scale="key")),
    "dbrx": Row("decoder", "Decoder", Options(norms=Norms("layer", ffn="attn_output_norm"), clamp_kqv=True)),
    "deci": Row("variants", "Deci", FACTORS),
    "deepseek": Row("decoder", "Decoder", Options(experts=UNNORMED, rope_factors="all")),
    "deepseek2-ocr": Row("decoder", "Decoder", Options(experts=KEYED)),
    "dots3note": Row("sparse", "Dots3Note", Options(experts=KEYED)),
    "deepseek4": Row("dsv4", "DeepSeek4", Options(experts=KEYED)),
    "dots1": Row("decoder", "Decoder", Options(experts=KEYED)),
    "dream": Row("encoder", "BatchDecoder"),
    "ernie4_5": Row("decoder", "Decoder"),
    "ernie4_5-moe": Row("decoder", "Decoder"),
    "eurobert": Row("encoder", "BatchDecoder", Options(encoder=True)),
    "exaone": Row("decoder", "Decoder", FACTORS),
    "exaone4": Row("decoder", "Decoder", Options(norms=POSTS_ONLY, rope="sliding", rope_factors="all")),
    "exaone-moe": Row("decoder", "Decoder", Options(experts=KEYED, rope="sliding", rope_factors="all")),
    "falcon": Row("variants", "Falcon", GELU_MLP),
    "gemma": Row("decoder", "Decoder", Options(act="gelu", embed="scale", q_scale="constant")),
    "gemma2": Row("decoder", "Decoder", Options(
        norms=POSTS, act="gelu", embed="scale", q_scale="constant", softcap_scores=True, softcap="always")),
    "gemma3": Row("decoder", "Decoder", Options(
        norms=POSTS, act="gelu", embed="token_scale", q_scale="constant", softcap="key")),
    "gemma-embedding": Row("encoder", "BatchDecoder", Options(
        norms=POSTS, act="gelu", embed="token_scale", q_scale="constant", encoder=True)),
    "glm5-next": Row("glm5", "Glm5Next", Options(experts=KEYED_SIGMOID, positions="none", rope="none")),
    "glm4": Row("decoder", "Decoder", Options(norms=POSTS, act="glu", positions="sections")),
    "glm4moe": Row("decoder", "Decoder", Options(norms=LATE, experts=KEYED_SIGMOID, positions="sections")),
    "gpt2": Row("decoder", "Decoder", LEARNED),
    "gptneox": Row("variants", "GptNeoX", GELU_MLP),
    "gpt-oss": Row("decoder", "Decoder", Options(
        norms=LATE, act="oai", experts=Experts("softmax_weight", norm_weights="never"), draft_reads="layers")),
    "granite": Row("experts", "Granite", Options(
        embed_scale=0.0, deepstack="mapping", rope_factors="all", logit_scale="key")),
    "granitemoe": Row("experts", "Granite", GRANITE),
    "granite_swa": Row("experts", "Granite", Options(
        embed_scale=0.0, deepstack="mapping", rope_factors="all", experts=Experts(shared_act="glu"),
        logit_scale="always")),
    "grok": Row("experts", "Grok", Options(
        norms=GROK, embed_scale=78.38367176906169, softcap_scores=True, logit_scale="always", softcap="always")),
    "grovemoe": Row("experts", "GroveMoe"),
    "hunyuan-dense": Row("decoder", "Decoder", Options(qk_norm="after", rope_factors="all")),
    "hunyuan-moe": Row("experts", "HunyuanMoe", Options(qk_norm="after", rope_factors="all")),
    "hunyuan_vl": Row("decoder", "Decoder", Options(qk_norm="after", positions="sections", rope_factors="all")),
    "hy_v4": Row("hyper", "HyV4", Options(experts=KEYED)),
    "hy_v3": Row("decoder", "Decoder", Options(experts=KEYED, rope_factors="all", draft_reads="layers")),
    "internlm2": Row("decoder", "Decoder"),
    "jais": Row("decoder", "Decoder", Options(norms=LAYER, positions="none", rope="none")),
    "jais2": Row("decoder", "Decoder", Options(norms=LAYER, act="relu2")),
    "laguna": Row("variants", "GatedAttention", Options(experts=KEYED, gate="before")),
    "llada": Row("encoder", "BatchDecoder"),
    "llada-moe": Row("encoder", "BatchDecoder", Options(experts=UNNORMED)),
    "llama4": Row("variants", "Llama4", Options(
        experts=Experts("sigmoid", norm_weights="never", weigh_first=True), q_scale="position", rope_factors="all")),
    "llama-embed": Row("encoder", "BatchDecoder", Options(encoder=True, rope_factors="all")),
    "maincoder": Row("decoder", "Decoder", Options(qk_norm="after")),
    "maple": Row("decoder", "Decoder", Options(rope="sliding")),
    "mellum": Row("decoder", "Decoder"),
    "mimo2": Row("variants", "Mimo2", Options(experts=Experts("sigmoid"))),
    "minicpm": Row("experts", "Granite", Options(
        embed_scale=12.0, residual_scale=1.4, rope_factors="all", logit_scale="key")),
    "minimax-m3": Row("msa", "MiniMaxM3", Options(act="oai", experts=KEYED)),
    "minimax-m2": Row("decoder", "Decoder", Options(qk_norm="flat", experts=SIGMOID_OR_KEY)),
    "mistral3": Row("variants", "Mistral3", FACTORS),
    "modern-bert": Row("encoder", "BatchDecoder", Options(norms=LAYER, act="glu", embed="norm", encoder=True)),
    "mpt": Row("variants", "Mpt", Options(norms=LAYER, act="gelu", clamp_kqv=True)),
    "muse-glimmer": Row("variants", "GatedAttention", Options(
        embed="norm", norms=POSTS, rope="sliding", gate="before",
    )),
    "nemotron": Row("decoder", "Decoder", Options(norms=LAYER, act="relu2")),
    "neo-bert": Row("encoder", "NeoBert", Options(act="glu", encoder=True)),
    "olmo": Row("decoder", "Decoder", Options(norms=LAYER, clamp_kqv=True)),
    "olmo2": Row("decoder", "Decoder", Options(norms=POSTS_ONLY, qk_norm="flat")),
    "olmoe": Row("decoder", "Decoder", Options(qk_norm="flat", experts=UNNORMED)),
    "openelm": Row("variants", "OpenElm"),
    "orion": Row("decoder", "Decoder", Options(norms=LAYER)),
    "paddleocr": Row("decoder", "Decoder", MROPE),
    "pangu-embedded": Row("decoder", "Decoder"),
    "phi2": Row("decoder", "Decoder", Options(
        norms=LAYER, act="gelu", parallel="attention_ffn", q_scale="constant")),
    "phi3": Row("decoder", "Decoder", Options(
        q_scale="constant", act="glu", experts=Experts(act="silu"), residual_first=True, rope_factors="all")),
    "phimoe": Row("decoder", "Decoder", Options(q_scale="constant", residual_first=True, rope_factors="all")),
    "plamo": Row("decoder", "Decoder", Options(parallel="ffn_attention")),
    "plamo3": Row("decoder", "Decoder", Options(norms=POSTS, act="glu")),
    "pockettts": Row("decoder", "Decoder", GELU_MLP),
    "qwen": Row("decoder", "Decoder"),
    "qwen2": Row("decoder", "Decoder"),
    "qwen2vl": Row("decoder", "Decoder", MROPE),
    "qwen2moe": Row("experts", "Qwen2Moe"),
    "qwen3": Row("decoder", "Decoder"),
    "qwen3moe": Row("decoder", "Decoder"),
    "qwen3vl": Row("variants", "Qwen3Vl", QWEN3VL),
    "qwen3vlmoe": Row("variants", "Qwen3Vl", QWEN3VL),
    "qwen3tts": Row("variants", "Qwen3Vl", QWEN3VL),
    "refact": Row("decoder", "Decoder", NO_POSITIONS),
    "rnd1": Row("encoder", "BatchDecoder"),
    "seed_oss": Row("decoder", "Decoder", Options(norms=LATE)),
    "smallthinker": Row("experts", "SmallThinker", Options(experts=Experts(gating_key=True))),
    "smollm3": Row("decoder", "Decoder", Options(rope="step")),
    "spark2_5": Row("variants", "GatedAttention", Options(act="gelu", gate="after")),
    "stablelm": Row("variants", "StableLm", Options(norms=LAYER, qk_kind="layer")),
    "starcoder": Row("decoder", "Decoder", LEARNED),
    "starcoder2": Row("decoder", "Decoder", GELU_MLP),
    "step35": Row("variants", "GatedAttention", Options(
        experts=KEYED, gate="after", rope_factors="full", clamps_apart=True, draft_reads="layers")),
    "talkie": Row("variants", "Talkie", Options(qk_norm="after", logit_scale="always")),
    "mamba": Row("recurrent", "Mamba", Options(attends=False, positions="none")),
    "mamba2": Row("recurrent", "Mamba2", Options(attends=False, positions="none")),
    "falcon-h1": Row("recurrent", "FalconH1"),
    "granitehybrid": Row("recurrent", "GraniteHybrid", GRANITE),
    "jamba": Row("recurrent", "Jamba", Options(positions="none", rope="none", experts=UNNORMED)),
    "nemotron_h": Row("recurrent", "NemotronH", Options(positions="none", rope="none", draft_reads="norm")),
    "nemotron_h_moe": Row("recurrent", "NemotronH", Options(positions="none", rope="none", draft_reads="norm")),
    "lfm2": Row("recurrent", "Lfm2", Options(norms=LFM2)),
    "lfm2moe": Row("recurrent", "Lfm2", Options(norms=LFM2, experts=SIGMOID_OR_KEY)),
    "qwen3next": Row("hybrids", "Qwen3Next", Options(draft_reads="norm")),
    "qwen35": Row("hybrids", "Qwen35", Options(positions="four", draft_reads="norm")),
    "qwen35moe": Row("hybrids", "Qwen35", Options(positions="four", draft_reads="norm")),
    "nomic-bert": Row("encoder", "Bert"),
    "nomic-bert-moe": Row("encoder", "NomicBertMoe", Options(act="gelu")),
    "jina-bert-v3": Row("encoder", "Bert", Options(act="gelu")),
    "jina-bert-v2": Row("encoder", "JinaBert2", NO_POSITIONS),
    "mistral4": Row("latent", "Latent", Options(experts=KEYED.replace(exact_down=True))),
    "rwkv6qwen2": Row("rwkv", "Rwkv6Qwen", Options(attends=False), compared=False),
    "arwkv7": Row("rwkv", "Rwkv7Qwen", Options(attends=False)),
    "plamo2": Row("hybrids", "Plamo2"),
    "minimax-01": Row("hybrids", "MiniMax01"),
    "t5": Row("t5", "T5Decoder"),
    "t5encoder": Row("t5", "T5Encoder"),
    "rwkv6": Row("rwkv", "Rwkv6", RWKV),
    "rwkv7": Row("rwkv", "Rwkv7", RWKV),
    "deepseek2": Row("latent", "Latent", Options(experts=KEYED)),
    "deepseek32": Row("latent", "Sparse", Options(experts=KEYED_SIGMOID)),
    "glm-dsa": Row("latent", "Sparse", Options(experts=KEYED_SIGMOID)),
    "kimi-linear": Row("latent", "KimiLinear", Options(positions="none", rope="none", experts=SIGMOID_OR_KEY)),
    "minicpm3": Row("latent", "MiniCpm3", Options(embed="scale", rope_factors="all")),
    "plm": Row("latent", "Latent", Options(act="relu2")),
    "nanbeige": Row("looped", "Nanbeige", FACTORS),
    "hrm_text": Row("looped", "HrmText", Options(embed_scale=0.0)),
    "graniteswitch": Row("switched", "GraniteSwitch", Options(rope_factors="all", logit_scale="always")),
    "bailingmoe3": Row("kda", "BailingMoe3", Options(
        positions="sections", experts=KEYED, clamps_apart=True, draft_reads="norm")),
    "kimi-k3": Row("kda", "KimiK3", Options(positions="none", rope="none", experts=KEYED)),
    "qwen4exp": Row("qwen4", "Qwen4Exp", Options(positions="four")),
    "gemma3n": Row("nano", "Gemma3n", Options(embed="token_scale", softcap="always")),
    "gemma4": Row("nano", "Gemma4", Options(
        embed="token_scale", softcap="key", rope_factors="full", draft_reads="norm")),
    "wavtokenizer-dec": Row("wavtokenizer", "WavTokenizer", Options(norms=LAYER)),
    "clef": Row("clef", "Clef", Options(positions="four")),
    "dflash": Row("dspark", "dflash_of", FACTORS),
    "eagle3": Row("drafts", "Eagle3", FACTORS),
    "gemma4-assistant": Row("drafts", "Gemma4Assistant", Options(rope_factors="full")),
    "xverse": Row("decoder", "Decoder"),
})  # fmt: skip

# All their layers predict, and there are no others (src/models/gemma4-assistant.cpp).
WITHOUT_TRUNK: Final = frozenset(("gemma4-assistant",))
