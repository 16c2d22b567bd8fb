"""What SGLang 0.5.23 serves at all: file formats, model classes, cards.

sglang/srt/models/ (EntryClass), sglang/srt/configs/model_config.py (is_hybrid_swa_model: pools of two kinds).
"""

from __future__ import annotations

from inspector.memory.engines.shared.kv_options import config_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu

RELEASE: Final = "SGLang 0.5.23"
LEAST_CAPABILITY: Final = (7, 5)
_BACKENDS: Final = frozenset({"cuda", "rocm"})
_CLASSES: Final = """
AfmoeForCausalLM ApertusForCausalLM ArceeForCausalLM BaichuanForCausalLM BailingMM2NativeForConditionalGeneration
BailingMMNativeForConditionalGeneration BailingMoEForCausalLM BailingMoeForCausalLM BailingMoeV2ForCausalLM
BailingMoeV2_5ForCausalLM BailingMoeV3ForCausalLM BailingMoeV3VLForConditionalGeneration BeamForCausalLM
BertForSequenceClassification BertModel CLIPModel ChatGLMModel Cohere2ForCausalLM Cohere2MoeForCausalLM
Cohere2VisionForConditionalGeneration CohereForCausalLM Contriever Cosmos3EdgeForConditionalGeneration
Cosmos3ForConditionalGeneration DbrxForCausalLM DeciLMForCausalLM DeepseekForCausalLM DeepseekOCRForCausalLM
DeepseekV2ForCausalLM DeepseekV32ForCausalLM DeepseekV3ForCausalLM DeepseekV4ForCausalLM DeepseekV4ForCausalLMDSpark
DeepseekVL2ForCausalLM DiffusionGemmaForBlockDiffusion Dots3NoteForCausalLM DotsOCRForCausalLM DotsVLMForCausalLM
EmbeddingGemma2Model EmbeddingGemmaModel Ernie4_5_ForCausalLM Ernie4_5_MoeForCausalLM
Ernie4_5_VLMoeForConditionalGeneration Exaone4ForCausalLM ExaoneForCausalLM ExaoneMoEForCausalLM ExaoneMoeForCausalLM
FalconH1ForCausalLM FalconMambaForCausalLM GPT2LMHeadModel GPTBigCodeForCausalLM GPTJForCausalLM Gemma2ForCausalLM
Gemma2ForSequenceClassification Gemma3ForCausalLM Gemma3ForConditionalGeneration Gemma3nForCausalLM
Gemma3nForConditionalGeneration Gemma4AssistantForCausalLM Gemma4ForCausalLM Gemma4ForConditionalGeneration
Gemma4UnifiedAssistantForCausalLM Gemma4UnifiedForConditionalGeneration GemmaForCausalLM GigaChat35ForCausalLM
Glm4ForCausalLM Glm4MoeForCausalLM Glm4MoeLiteForCausalLM Glm4vForConditionalGeneration Glm4vMoeForConditionalGeneration
Glm5NextForConditionalGeneration GlmAsrForConditionalGeneration GlmImageForConditionalGeneration GlmMoeDsaForCausalLM
GlmOcrForConditionalGeneration GptOssForCausalLM GraniteForCausalLM GraniteMoeForCausalLM GraniteMoeHybridForCausalLM
GraniteMoeSWAForCausalLM GraniteMoeSharedForCausalLM GraniteSWAForCausalLM Grok1ForCausalLM Grok1ModelForCausalLM
HYV3ForCausalLM HYV4ForCausalLM HrmTextForCausalLM HunYuanDenseV1ForCausalLM HunYuanMoEV1ForCausalLM
IQuestCoderForCausalLM IQuestLoopCoderForCausalLM IQuestQ1ForCausalLM InklingForConditionalGeneration
InternLM2ForCausalLM InternLM2ForRewardModel InternLM3ForCausalLM InternS1ForConditionalGeneration
InternS1ProForConditionalGeneration InternS2MobiusForConditionalGeneration InternS2PreviewForConditionalGeneration
InternVLChatModel JetNemotronForCausalLM JetVLMForConditionalGeneration K2HorizonForCausalLM
KimiK25ForConditionalGeneration KimiK3ForConditionalGeneration KimiK3LinearForCausalLM KimiLinearForCausalLM
KimiVLForConditionalGeneration LLaDA2MoeModelLM LagunaForCausalLM Lfm2BidirectionalModel Lfm2ForCausalLM
Lfm2MoeForCausalLM Lfm2VlForConditionalGeneration LightOnOCRForConditionalGeneration LingDSparkModel Llama4ForCausalLM
Llama4ForConditionalGeneration LlamaEmbeddingModel LlamaForCausalLM LlamaForClassification
LlamaForSequenceClassification LlamaForSequenceClassificationWithNormal_Weights LlavaForConditionalGeneration
LlavaLlamaForCausalLM LlavaMistralForCausalLM LlavaQwenForCausalLM LlavaVidForCausalLM
LocateAnythingForConditionalGeneration LongcatFlashForCausalLM Mamba2ForCausalLM MambaForCausalLM MellumForCausalLM
MiDashengLMModel MiMoForCausalLM MiMoV2ASRForCausalLM MiMoV2FlashForCausalLM MiMoV2ForCausalLM MindSporeForCausalLM
MiniCPM3ForCausalLM MiniCPMForCausalLM MiniCPMO MiniCPMSALAForCausalLM MiniCPMV MiniCPMV4_6ForConditionalGeneration
MiniCPMV4_7ForConditionalGeneration MiniMaxM2ForCausalLM MiniMaxM3SparseForCausalLM
MiniMaxM3SparseForConditionalGeneration Ministral3ForCausalLM Mistral3ForConditionalGeneration MistralForCausalLM
MistralLarge3ForCausalLM MistralModel MixtralForCausalLM MllamaForConditionalGeneration MossVLForConditionalGeneration
MultiModalityCausalLM MuseGlimmerAssistantModel MuseGlimmerForCausalLM MuseGlimmerForConditionalGeneration
MuseSparkForConditionalGeneration NVILAForConditionalGeneration NVILALiteForConditionalGeneration NanbeigeForCausalLM
NanbeigeForSequenceClassification NemotronHForCausalLM NemotronHPuzzleForCausalLM NemotronH_Nano_Omni_Reasoning_V3
NemotronH_Nano_VL_V2 NemotronH_Omni_Reasoning_V3 OPTForCausalLM Olmo2ForCausalLM OlmoForCausalLM OlmoeForCausalLM
OrionForCausalLM POINTSV15ChatModel PaddleOCRVLForConditionalGeneration PersimmonForCausalLM Phi3ForCausalLM
Phi3SmallForCausalLM Phi4MMForCausalLM PhiForCausalLM PhiMoEForCausalLM PixtralForConditionalGeneration
PixtralVisionModel QWenLMHeadModel QuantMixtralForCausalLM Qwen2AudioForConditionalGeneration Qwen2ForCausalLM
Qwen2ForRewardModel Qwen2ForSequenceClassification Qwen2MoeForCausalLM Qwen2VLForConditionalGeneration
Qwen2_5_VLForConditionalGeneration Qwen3ASRForConditionalGeneration Qwen3DSparkModel Qwen3ForCausalLM
Qwen3ForRewardModel Qwen3ForSequenceClassification Qwen3Model Qwen3MoeForCausalLM Qwen3NextForCausalLM
Qwen3OmniMoeForConditionalGeneration Qwen3VLForConditionalGeneration Qwen3VLMoeForConditionalGeneration
Qwen3_5ForCausalLM Qwen3_5ForConditionalGeneration Qwen3_5MoeForCausalLM Qwen3_5MoeForConditionalGeneration
Qwen4ExpForConditionalGeneration SDARForCausalLM SDARMoeForCausalLM Sarashina2VisionForCausalLM SarvamMLAForCausalLM
SarvamMoEForCausalLM SolarForCausalLM Spark2_5ForCausalLM StableLmForCausalLM Starcoder2ForCausalLM
Step3VLForConditionalGeneration Step3p5ForCausalLM Step3p7ForConditionalGeneration StepVLForConditionalGeneration
TeleFLMForCausalLM TorchNativeLlamaForCausalLM TorchNativePhi3ForCausalLM TransformersEmbeddingModel
TransformersForCausalLM TransformersForSequenceClassification TransformersMoEEmbeddingModel TransformersMoEForCausalLM
TransformersMoEForSequenceClassification TransformersMultiModalEmbeddingModel TransformersMultiModalForCausalLM
TransformersMultiModalForSequenceClassification TransformersMultiModalMoEEmbeddingModel
TransformersMultiModalMoEForCausalLM TransformersMultiModalMoEForSequenceClassification UnlimitedOCRForCausalLM
VoxtralForConditionalGeneration WhisperForConditionalGeneration XLMRobertaForSequenceClassification XLMRobertaModel
XllmForCausalLM XverseForCausalLM XverseMoeForCausalLM YiVLForCausalLM ZayaForCausalLM
"""
REGISTERED: Final = frozenset(_CLASSES.split())
# Classes whose sliding layers have a pool of their own; of all others every layer keeps every token.
_TWO_POOLS: Final = """
BeamForCausalLM Llama4ForConditionalGeneration DeepseekV4ForCausalLM GptOssForCausalLM GraniteSWAForCausalLM
GraniteMoeSWAForCausalLM IQuestQ1ForCausalLM MiMoV2ForCausalLM MiMoV2FlashForCausalLM Step3p5ForCausalLM
Step3p7ForConditionalGeneration Gemma4ForCausalLM Gemma4ForConditionalGeneration EmbeddingGemma2Model
Gemma4UnifiedForConditionalGeneration DiffusionGemmaForBlockDiffusion LagunaForCausalLM MellumForCausalLM
MuseGlimmerForCausalLM MuseGlimmerForConditionalGeneration InklingForConditionalGeneration UnlimitedOCRForCausalLM
"""
TWO_POOLS: Final = frozenset(_TWO_POOLS.split())


def classes_of(facts: ModelFacts) -> tuple[str, ...]:
    """The classes that the config names: the language model's, and the whole model's."""
    outer = (facts.keys or {}).get("architectures")
    found = []
    for named in (config_value(facts, "architectures"), outer):
        if isinstance(named, list | tuple):
            found += [name for name in named[:4] if isinstance(name, str)]
    return tuple(dict.fromkeys(found))


def why_not(facts: ModelFacts, gpus: Iterable[Gpu]) -> str:
    """Why SGLang would not run this model on these GPUs; "" where nothing is known against it."""
    if facts.format == "gguf":
        return f"{RELEASE} is answered for safetensors, not for GGUF files"
    if (facts.quantization or "").startswith("mlx"):
        return f"{RELEASE} loads no weights packed by MLX"
    classes = classes_of(facts)
    if classes and not any(name in REGISTERED for name in classes):
        return f"{RELEASE} has no class {classes[0][:60]}"
    return next((why for gpu in gpus if (why := card_refused(gpu))), "")


def card_refused(gpu: Gpu) -> str:
    """Why SGLang would not run on a card; "" for one of no known capability."""
    if gpu.backend not in _BACKENDS and not gpu.sized:
        return f"{RELEASE} is not answered for {gpu.name}"
    major, dot, minor = gpu.compute_capability.partition(".")
    known = dot and major.isdigit() and minor.isdigit()
    if known and (int(major), int(minor)) < LEAST_CAPABILITY:
        return f"{RELEASE} is not built for {gpu.name} (compute capability {gpu.compute_capability})"
    return ""
