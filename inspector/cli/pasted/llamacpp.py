"""llama-server's and llama-cli's command lines in our words.

Names, values and environment variables: common/arg.cpp of llama.cpp b11434, with names that older builds took
(`--mlock`, `--no-mmap`, a bare `-fa`) where people still paste them.
"""

from __future__ import annotations

from inspector.cli.pasted.records import Flag, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# fmt: off
TAKEN: Final = """
-m --model= LLAMA_ARG_MODEL -> target
-hf -hfr --hf-repo= LLAMA_ARG_HF_REPO -> repo
-hff --hf-file= LLAMA_ARG_HF_FILE -> file
-mu --model-url= LLAMA_ARG_MODEL_URL -> target
-c --ctx-size= LLAMA_ARG_CTX_SIZE -> -c
-np --parallel= LLAMA_ARG_N_PARALLEL -> -np
-b --batch-size= LLAMA_ARG_BATCH -> -b
-ub --ubatch-size= LLAMA_ARG_UBATCH -> -ub
-kvu --kv-unified !-no-kvu !--no-kv-unified LLAMA_ARG_KV_UNIFIED -> --kv-unified
--swa-full LLAMA_ARG_SWA_FULL -> --swa-full
-fa --flash-attn=? LLAMA_ARG_FLASH_ATTN -> -fa
-ctk --cache-type-k= LLAMA_ARG_CACHE_TYPE_K -> -ctk
-ctv --cache-type-v= LLAMA_ARG_CACHE_TYPE_V -> -ctv
-kvo --kv-offload !-nkvo !--no-kv-offload LLAMA_ARG_KV_OFFLOAD -> --no-kv-offload
--op-offload !--no-op-offload -> --no-op-offload
-lm --load-mode= LLAMA_ARG_LOAD_MODE -> --load-mode
--mmap !--no-mmap LLAMA_ARG_MMAP -> --no-mmap
-dev --device= LLAMA_ARG_DEVICE -> -dev
-ot --override-tensor= LLAMA_ARG_OVERRIDE_TENSOR -> -ot
-cmoe --cpu-moe LLAMA_ARG_CPU_MOE -> -cmoe
-ncmoe --n-cpu-moe= LLAMA_ARG_N_CPU_MOE -> -ncmoe
-ncffn --n-cpu-ffn= LLAMA_ARG_N_CPU_FFN -> ffn
-ngl --gpu-layers --n-gpu-layers= LLAMA_ARG_N_GPU_LAYERS -> -ngl
-sm --split-mode= LLAMA_ARG_SPLIT_MODE -> -sm
-ts --tensor-split= LLAMA_ARG_TENSOR_SPLIT -> -ts
-mg --main-gpu= LLAMA_ARG_MAIN_GPU -> -mg
--embedding --embeddings LLAMA_ARG_EMBEDDINGS -> --embeddings
--rerank --reranking LLAMA_ARG_RERANKING -> --embeddings
-mm --mmproj= LLAMA_ARG_MMPROJ -> --mmproj
--lora= -> --lora
--lora-scaled= -> lora
-md --spec-draft-model --model-draft= LLAMA_ARG_SPEC_DRAFT_MODEL -> --draft
-hfd -hfrd --spec-draft-hf --hf-repo-draft= LLAMA_ARG_SPEC_DRAFT_HF_REPO -> --draft
-ctkd --spec-draft-type-k --cache-type-k-draft= LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K -> -ctkd
-ctvd --spec-draft-type-v --cache-type-v-draft= LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V -> -ctvd
--spec-type= LLAMA_ARG_SPEC_TYPE -> --spec-type
--spec-draft-n-max= LLAMA_ARG_SPEC_DRAFT_N_MAX -> --spec-draft-n-max
-ctxcp --ctx-checkpoints --swa-checkpoints= LLAMA_ARG_CTX_CHECKPOINTS -> --ctx-checkpoints
-cram --cache-ram= LLAMA_ARG_CACHE_RAM -> --cache-ram
"""
# Memory depends on these, and no figure here does.
UNCOUNTED: Final = """
-dr --docker-repo= LLAMA_ARG_DOCKER_REPO
--repack !-nr !--no-repack LLAMA_ARG_REPACK
--no-host LLAMA_ARG_NO_HOST
--rpc= LLAMA_ARG_RPC
-lzm --lazy-mode= LLAMA_ARG_LAZY_MODE
--override-kv=
--control-vector=
--control-vector-scaled=
-bs --backend-sampling LLAMA_ARG_BACKEND_SAMPLING
-cd --ctx-size-draft= LLAMA_ARG_CTX_SIZE_DRAFT
-otd --spec-draft-override-tensor --override-tensor-draft=
-cmoed --spec-draft-cpu-moe --cpu-moe-draft LLAMA_ARG_SPEC_DRAFT_CPU_MOE
-ncmoed --spec-draft-n-cpu-moe --spec-draft-ncmoe --n-cpu-moe-draft= LLAMA_ARG_SPEC_DRAFT_N_CPU_MOE
-ngld --spec-draft-ngl --gpu-layers-draft --n-gpu-layers-draft= LLAMA_ARG_N_GPU_LAYERS_DRAFT
-devd --spec-draft-device --device-draft=
--kv-unified-per-slot= LLAMA_ARG_KV_UNIFIED_PER_SLOT
--cache-idle-slots !--no-cache-idle-slots LLAMA_ARG_CACHE_IDLE_SLOTS
--pooling= LLAMA_ARG_POOLING
-mmu --mmproj-url= LLAMA_ARG_MMPROJ_URL
--mmproj-auto !--no-mmproj !--no-mmproj-auto LLAMA_ARG_MMPROJ_AUTO
--mmproj-offload !--no-mmproj-offload LLAMA_ARG_MMPROJ_OFFLOAD
-mmdev --mmproj-device= MTMD_BACKEND_DEVICE
--image-min-tokens= LLAMA_ARG_IMAGE_MIN_TOKENS
--image-max-tokens= LLAMA_ARG_IMAGE_MAX_TOKENS
--mtmd-batch-max-tokens= LLAMA_ARG_MTMD_BATCH_MAX_TOKENS
--models-dir= LLAMA_ARG_MODELS_DIR
--models-preset= LLAMA_ARG_MODELS_PRESET
--spec-default
"""
# No memory that is counted here depends on these.
HARMLESS: Final = """
-t --threads= LLAMA_ARG_THREADS
-tb --threads-batch=
-C --cpu-mask=
-Cr --cpu-range=
--cpu-strict=
--prio=
--poll=
-Cb --cpu-mask-batch=
-Crb --cpu-range-batch=
--cpu-strict-batch=
--prio-batch=
--poll-batch=
-n --predict --n-predict= LLAMA_ARG_N_PREDICT
--keep=
--perf !--no-perf LLAMA_ARG_PERF
-e --escape !--no-escape
--rope-scaling= LLAMA_ARG_ROPE_SCALING_TYPE
--rope-scale= LLAMA_ARG_ROPE_SCALE
--rope-freq-base= LLAMA_ARG_ROPE_FREQ_BASE
--rope-freq-scale= LLAMA_ARG_ROPE_FREQ_SCALE
--yarn-orig-ctx= LLAMA_ARG_YARN_ORIG_CTX
--yarn-ext-factor= LLAMA_ARG_YARN_EXT_FACTOR
--yarn-attn-factor= LLAMA_ARG_YARN_ATTN_FACTOR
--yarn-beta-slow= LLAMA_ARG_YARN_BETA_SLOW
--yarn-beta-fast= LLAMA_ARG_YARN_BETA_FAST
-dt --defrag-thold= LLAMA_ARG_DEFRAG_THOLD
--numa= LLAMA_ARG_NUMA
-fit --fit= LLAMA_ARG_FIT
-fitt --fit-target= LLAMA_ARG_FIT_TARGET
-fitc --fit-ctx= LLAMA_ARG_FIT_CTX
--check-tensors
--control-vector-layer-range=*
-hft --hf-token= HF_TOKEN
--log-disable
--log-file= LLAMA_ARG_LOG_FILE
--log-jsonl !--no-log-jsonl LLAMA_ARG_LOG_JSONL
--log-colors= LLAMA_ARG_LOG_COLORS
-v --verbose --log-verbose
--offline LLAMA_ARG_OFFLINE
-lv --verbosity --log-verbosity= LLAMA_ARG_LOG_VERBOSITY
--log-prefix !--no-log-prefix LLAMA_ARG_LOG_PREFIX
--log-timestamps !--no-log-timestamps LLAMA_ARG_LOG_TIMESTAMPS
--samplers=
-s --seed=
--sampler-seq --sampling-seq=
--ignore-eos
--temp --temperature= LLAMA_ARG_TEMPERATURE
--top-k= LLAMA_ARG_TOP_K
--top-p= LLAMA_ARG_TOP_P
--min-p= LLAMA_ARG_MIN_P
--top-nsigma --top-n-sigma=
--xtc-probability=
--xtc-threshold=
--typical --typical-p=
--repeat-last-n=
--repeat-penalty= LLAMA_ARG_REPEAT_PENALTY
--presence-penalty= LLAMA_ARG_PRESENCE_PENALTY
--frequency-penalty= LLAMA_ARG_FREQUENCY_PENALTY
--dry-multiplier=
--dry-base=
--dry-allowed-length=
--dry-penalty-last-n=
--dry-sequence-breaker=
--adaptive-target=
--adaptive-decay=
--dynatemp-range=
--dynatemp-exp=
--mirostat=
--mirostat-lr=
--mirostat-ent=
-l --logit-bias=
--grammar=
--grammar-file=
-j --json-schema=
-jf --json-schema-file=
--spec-draft-threads -td --threads-draft=
--spec-draft-threads-batch -tbd --threads-batch-draft=
--spec-draft-cpu-mask -Cd --cpu-mask-draft=
--spec-draft-cpu-range -Crd --cpu-range-draft=
--spec-draft-cpu-strict --cpu-strict-draft=
--spec-draft-prio --prio-draft=
--spec-draft-poll --poll-draft=
--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft=
--spec-draft-cpu-strict-batch --cpu-strict-batch-draft=
--spec-draft-prio-batch --prio-batch-draft=
--spec-draft-poll-batch --poll-batch-draft=
--spec-draft-n-min= LLAMA_ARG_SPEC_DRAFT_N_MIN
--spec-synth-len= LLAMA_ARG_SPEC_SYNTH_LEN
--spec-synth-rates= LLAMA_ARG_SPEC_SYNTH_RATES
--spec-draft-p-split --draft-p-split= LLAMA_ARG_SPEC_DRAFT_P_SPLIT
--spec-draft-p-min --draft-p-min= LLAMA_ARG_SPEC_DRAFT_P_MIN
--spec-draft-backend-sampling !--no-spec-draft-backend-sampling LLAMA_ARG_SPEC_DRAFT_BACKEND_SAMPLING
--spec-draft-sampling= LLAMA_ARG_SPEC_DRAFT_SAMPLING
--spec-ngram-mod-n-min=
--spec-ngram-mod-n-max=
--spec-ngram-mod-n-match=
--spec-ngram-simple-size-n=
--spec-ngram-simple-size-m=
--spec-ngram-simple-min-hits=
--spec-ngram-map-k-size-n=
--spec-ngram-map-k-size-m=
--spec-ngram-map-k-min-hits=
--spec-ngram-map-k4v-size-n=
--spec-ngram-map-k4v-size-m=
--spec-ngram-map-k4v-min-hits=
--draft --draft-n --draft-max= LLAMA_ARG_DRAFT_MAX
--draft-min --draft-n-min= LLAMA_ARG_DRAFT_MIN
--spec-ngram-size-n=
--spec-ngram-size-m=
--spec-ngram-min-hits=
-lcs --lookup-cache-static=
-lcd --lookup-cache-dynamic=
-cms --checkpoint-min-step= LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT
--context-shift !--no-context-shift LLAMA_ARG_CONTEXT_SHIFT
-r --reverse-prompt=
-sp --special
--warmup !--no-warmup
--spm-infill
-cb --cont-batching !-nocb !--no-cont-batching LLAMA_ARG_CONT_BATCHING
--video-fps= LLAMA_ARG_VIDEO_FPS
--video-timestamp-interval= LLAMA_ARG_VIDEO_TIMESTAMP_INTERVAL
--video-ffmpeg-dir= LLAMA_ARG_VIDEO_FFMPEG_DIR
-a --alias= LLAMA_ARG_ALIAS
--tags= LLAMA_ARG_TAGS
--embd-normalize=
--host= LLAMA_ARG_HOST
--port= LLAMA_ARG_PORT
--reuse-port LLAMA_ARG_REUSE_PORT
--path= LLAMA_ARG_STATIC_PATH
--cors-origins= LLAMA_ARG_CORS_ORIGINS
--cors-methods= LLAMA_ARG_CORS_METHODS
--cors-headers= LLAMA_ARG_CORS_HEADERS
--cors-credentials !--no-cors-credentials LLAMA_ARG_CORS_CREDENTIALS
--api-prefix= LLAMA_ARG_API_PREFIX
--ui-config --webui-config= LLAMA_ARG_UI_CONFIG
--ui-config-file --webui-config-file= LLAMA_ARG_UI_CONFIG_FILE
--ui-mcp-proxy --webui-mcp-proxy !--no-ui-mcp-proxy !--no-webui-mcp-proxy LLAMA_ARG_UI_MCP_PROXY
--tools= LLAMA_ARG_TOOLS
--tools-runtime= LLAMA_ARG_TOOLS_RUNTIME
--mcp-servers-config= LLAMA_ARG_MCP_SERVERS_CONFIG
--mcp-servers-json= LLAMA_ARG_MCP_SERVERS_JSON
-ag --agent !-no-ag !--no-agent LLAMA_ARG_AGENT
--ui --webui !--no-ui !--no-webui LLAMA_ARG_UI
--api-key= LLAMA_API_KEY
--api-key-file= LLAMA_ARG_API_KEY_FILE
--ssl-key-file= LLAMA_ARG_SSL_KEY_FILE
--ssl-cert-file= LLAMA_ARG_SSL_CERT_FILE
--chat-template-kwargs= LLAMA_ARG_CHAT_TEMPLATE_KWARGS
-to --timeout= LLAMA_ARG_TIMEOUT
--sse-ping-interval= LLAMA_ARG_SSE_PING_INTERVAL
--threads-http= LLAMA_ARG_THREADS_HTTP
--cache-prompt !--no-cache-prompt LLAMA_ARG_CACHE_PROMPT
--cache-reuse= LLAMA_ARG_CACHE_REUSE
--metrics LLAMA_ARG_ENDPOINT_METRICS
--props LLAMA_ARG_ENDPOINT_PROPS
--slots !--no-slots LLAMA_ARG_ENDPOINT_SLOTS
--slot-save-path=
--media-path=
--models-max= LLAMA_ARG_MODELS_MAX
--models-autoload !--no-models-autoload LLAMA_ARG_MODELS_AUTOLOAD
--jinja !--no-jinja LLAMA_ARG_JINJA
--reasoning-format= LLAMA_ARG_THINK
-rea --reasoning= LLAMA_ARG_REASONING
--reasoning-effort= LLAMA_ARG_REASONING_EFFORT
--reasoning-budget= LLAMA_ARG_THINK_BUDGET
--reasoning-budget-message= LLAMA_ARG_THINK_BUDGET_MESSAGE
--reasoning-preserve !--no-reasoning-preserve LLAMA_ARG_REASONING_PRESERVE
--chat-template= LLAMA_ARG_CHAT_TEMPLATE
--chat-template-file= LLAMA_ARG_CHAT_TEMPLATE_FILE
--skip-chat-parsing !--no-skip-chat-parsing LLAMA_ARG_SKIP_CHAT_PARSING
--prefill-assistant !--no-prefill-assistant LLAMA_ARG_PREFILL_ASSISTANT
-sps --slot-prompt-similarity=
--lora-init-without-apply
--sleep-idle-seconds=
--log-prompts-dir=
-p --prompt=
-f --file=
-sys --system-prompt=
-i --interactive
-if --interactive-first
-cnv --conversation !-no-cnv !--no-conversation
-st --single-turn
--color !--no-color=?
--simple-io
-mli --multiline-input
-bf --binary-file=
--server-base=
--verbose-prompt
--display-prompt !--no-display-prompt
--show-timings !--no-show-timings
-sysf --system-prompt-file=
--prompt-cache=
--prompt-cache-all
--image=
--audio=
--mlock LLAMA_ARG_MLOCK
-dio --direct-io !-ndio !--no-direct-io
"""
# fmt: on
FLAGS: Final = flags_of(taken=TAKEN, uncounted=UNCOUNTED, harmless=HARMLESS)


def in_our_words(flag: Flag, name: str, value: str) -> list[str]:
    """Options of ours that say what a flag says; none where it says what is so anyway."""
    ours = flag.ours
    if ours == "lora":  # FNAME:SCALE, several with commas
        return [w for part in value.split(",") for w in ("--lora", part.rpartition(":")[0] or part)]
    if ours == "ffn":  # LLM_FFN_DENSE_REGEX, common/common.h
        n = int(value) if value.isdigit() else 0
        blocks = "|".join(str(i) for i in range(min(n, 1024)))
        return ["-ot", rf"blk\.({blocks})\.ffn_(up|down|gate)\.=CPU"] if n else []
    if ours == "--kv-unified":
        return ["--no-kv-unified" if name in flag.off else ours]
    if ours in {"--no-kv-offload", "--no-op-offload", "--no-mmap"}:
        return [ours] if name in flag.off else []
    if ours == "-fa":  # older builds: bare, for on
        return [ours, value or "on"]
    if ours == "-c" and value == "0":  # from the model
        return []
    return [ours] if not flag.takes else [ours, value]


def defaults(program: str) -> list[str]:
    """What the program does unasked: llama-server has four sequences in one cache and asks for the last logits."""
    return ["--server", "--outputs", "last"] if program == "llama-server" else []
