"""Registry of transformers' model types (5.24.0): one record each, in the module of its family.

`FAMILIES` says which module has which type, so that a run loads the one family that it needs.
To add a model type: its record in a family's module, and its name here; a new family is a new module and a new row.
"""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

# fmt: off
FAMILIES: Final[Mapping[str, str]] = MappingProxyType({
    "llama": "llama mistral ministral ministral3 mistral4 mistral_large4_text mixtral llama4_text "
        "mllama_text_model smollm3 helium arcee cwm seed_oss yi aquila baichuan xverse orion megrez step1 "
        "internlm internlm2 internlm3 iquestcoder hyperclovax solar_open apertus apertus1p5_text "
        "nanochat bitnet doge diffllama emu3 emu3_text_model fuyu aria_text got_ocr2 minicpm minicpmv minicpm3 "
        "muse_glimmer_text muse_spark_text kolibri1 laguna mellum flint beam dory hrm_text jais2 stablelm "
        "persimmon cpmant nemotron-nas transformer",
    "gemma": "gemma gemma2 gemma3_text vaultgemma gemma3n_text gemma4_text gemma4_unified_text "
        "diffusion_gemma_text embedding_gemma2_text t5gemma t5gemma2_text t5gemma2_decoder",
    "qwen": "qwen mimo qwen2 qwen2_moe qwen3 qwen3_moe qwen2_vl_text qwen2_5_vl_text qwen2_5_omni_text qwen3_vl_text "
        "qwen3_vl_moe_text qwen3_omni_moe_text qwen3_next qwen3_5_text qwen3_5_moe_text qwen4_exp_text",
    "deepseek": "deepseek_v2 deepseek_v3 deepseek_v32 deepseek_vl_v2 kimi_k2 axk1 axk2 youtu sarvam_mla "
        "sarvam_moe pangu_ultra_moe longcat_flash dots1 dots3_note dots3_note_text unlimited_ocr_text hy_v3 "
        "hy_v4 hy_v4_vl_text",
    "deepseek_v4": "deepseek_v4",
    "stepfun": "step3p5 step3p7_text",
    "glm": "glm glm4 glm4_moe glm4_moe_lite glm4v_text glm_ocr_text glm4v_moe_text glm_moe_dsa glm5_next_text",
    "gpt": "gpt2 gpt_bigcode gptj gpt_neo gpt_neox gpt_neox_japanese codegen opt bloom mpt falcon RefinedWeb "
        "RefinedWebModel starcoder2 gpt-sw3 ctrl biogpt xglm git trocr phi phi3 phimoe phi4_multimodal "
        "gpt_oss nemotron dbrx jetmoe",
    "granite": "granite granitemoe granitemoeshared granite_swa granitemoe_swa granitemoehybrid bamba",
    "olmo": "olmo olmo1 olmo2 olmo3 olmoe flex_olmo olmo_hybrid",
    "cohere": "cohere cohere2 cohere2_moe cohere_compass_text",
    "exaone": "exaone exaone4 exaone_moe",
    "minimax": "minimax minimax_m1 minimax_m3 minimax_m2 minimax_m3_vl_text mimo_v2_flash",
    "ernie": "ernie4_5 ernie4_5_moe ernie4_5_vl_moe_text afmoe hunyuan_v1_dense hunyuan_v1_moe",
    "mamba": "mamba mamba2 falcon_mamba falcon_h1 jamba zamba zamba2 nemotron_h recurrent_gemma rwkv xlstm zaya",
    "linear": "kimi_linear bailing_hybrid lara_mini inkling_text inkling2 inkling2_text inkling2_loop_text",
    "lfm": "lfm2 lfm2_moe lfm3",
    "drafts": "eagle eagle3 dflash dspark draft",
    "encoders": "albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie "
        "esm esmc eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm layoutlmv3 longformer "
        "luke megatron-bert mobilebert modernbert modernbert-decoder mpnet mra neomme nomic_bert "
        "nystromformer perceiver rembert roberta roberta-prelayernorm roc_bert roformer squeezebert tapas "
        "ultrabert xlm-roberta xlm-roberta-xl xmod yoso new nomic_bert_moe clip siglip vit dinov2",
    "seq2seq": "t5 mt5 umt5 longt5 switch_transformers bart mbart blenderbot blenderbot-small pegasus pegasus_x "
        "bigbird_pegasus led m2m_100 marian mvp plbart nllb-moe whisper fsmt seamless_m4t seamless_m4t_v2 "
        "speech_to_text prophetnet",
})
# fmt: on
_BY_TYPE: dict[str, str] = {}


def family_of(model_type: str) -> str:
    """The module that has a model type's record; "" where none has."""
    if not _BY_TYPE:
        _BY_TYPE.update({name: family for family, names in FAMILIES.items() for name in names.split()})
    return _BY_TYPE.get(model_type, "")
