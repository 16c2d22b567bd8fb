"""`vllm serve`'s command line in our words.

Names and kinds: vllm 0.33.0 vllm/engine/arg_utils.py (EngineArgs.add_cli_args), vllm/entrypoints/openai/cli_args.py;
how whole numbers may be written: vllm/utils/argparse_utils.py human_readable_int.
"""

from __future__ import annotations

from inspector.cli.pasted.records import Flag, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# fmt: off
TAKEN: Final = """
--model= -> target
--revision= -> revision
--max-model-len= -> --max-model-len
--max-num-seqs= -> --max-num-seqs
--max-num-batched-tokens= -> --max-num-batched-tokens
--tensor-parallel-size -tp= -> --tensor-parallel-size
--pipeline-parallel-size -pp= -> --pipeline-parallel-size
--data-parallel-size -dp= -> --data-parallel-size
--enable-expert-parallel -ep !--no-enable-expert-parallel -> --enable-expert-parallel
--gpu-memory-utilization --device-memory-utilization= -> --gpu-memory-utilization
--kv-cache-memory-bytes= -> --kv-cache-memory-bytes
--kv-cache-dtype= -> --kv-cache-dtype
--dtype= -> --dtype
--quantization -q= -> --quantization
--cpu-offload-gb= -> --cpu-offload-gb
--block-size= -> --block-size
--speculative-config -sc= -> --speculative-config
--enforce-eager !--no-enforce-eager -> --enforce-eager
--disable-hybrid-kv-cache-manager !--no-disable-hybrid-kv-cache-manager -> --disable-hybrid-kv-cache-manager
"""
# Memory depends on these, and no figure here does.
UNCOUNTED: Final = """
--hf-config-path=
--hf-overrides=
--quantization-config=
--disable-sliding-window !--no-disable-sliding-window
--enable-lora !--no-enable-lora
--max-loras=
--max-lora-rank=
--lora-modules=*
--lora-dtype=
--fully-sharded-loras
--spec-method=
--spec-model=
--spec-tokens=
--compilation-config -cc=
--attention-config -ac=
--attention-backend=
--optimization-level -O=
--cudagraph-capture-sizes=*
--max-cudagraph-capture-size=
--decode-context-parallel-size -dcp=
--prefill-context-parallel-size -pcp=
--num-gpu-blocks-override=
--enable-prefix-caching !--no-enable-prefix-caching
--kv-cache-dtype-skip-layers=*
--mamba-cache-dtype=
--mamba-ssm-cache-dtype=
--mamba-block-size=
--mamba-cache-mode=
--kv-offloading-size=
--offload-backend=
--cpu-offload-params=*
--language-model-only !--no-language-model-only
--limit-mm-per-prompt=
--mm-encoder-only !--no-mm-encoder-only
--mm-encoder-tp-mode=
--mm-processor-kwargs=
--skip-mm-profiling !--no-skip-mm-profiling
--enable-dbo !--no-enable-dbo
--enable-eplb !--no-enable-eplb
--eplb-config=
--runner=
--convert=
--additional-config=
--async-scheduling !--no-async-scheduling
--enable-sleep-mode !--no-enable-sleep-mode
--max-num-active-seqs=
"""
# No memory that is counted here depends on these.
HARMLESS: Final = """
--host=
--port=
--uds=
--api-key=*
--api-server-count -asc=
--headless
--grpc
--config=
--task=
--device=
--served-model-name=*
--tokenizer=
--tokenizer-mode=
--tokenizer-revision=
--code-revision=
--trust-remote-code !--no-trust-remote-code
--seed=
--hf-token=?
--download-dir=
--load-format=
--safetensors-load-strategy=
--model-loader-extra-config=
--ignore-patterns=*
--use-tqdm-on-load !--no-use-tqdm-on-load
--model-impl=
--generation-config=
--override-generation-config=
--config-format=
--max-logprobs=
--logprobs-mode=
--allowed-local-media-path=
--allowed-media-domains=*
--disable-log-stats
--disable-log-requests
--enable-log-requests !--no-enable-log-requests
--max-log-len=
--disable-uvicorn-access-log
--uvicorn-log-level=
--log-level=
--log-config-file=
--allow-credentials
--allowed-origins=
--allowed-methods=
--allowed-headers=
--chat-template=
--chat-template-content-format=
--chat-template-kwargs=
--default-chat-template-kwargs=
--response-role=
--ssl-keyfile=
--ssl-certfile=
--ssl-ca-certs=
--root-path=
--middleware=
--enable-auto-tool-choice !--no-enable-auto-tool-choice
--tool-call-parser=
--tool-parser-plugin=
--reasoning-parser=
--reasoning-parser-plugin=
--enable-reasoning
--enable-chunked-prefill !--no-enable-chunked-prefill
--scheduling-policy=
--scheduler-cls=
--stream-interval=
--long-prefill-token-threshold=
--max-num-partial-prefills=
--max-long-partial-prefills=
--disable-custom-all-reduce !--no-disable-custom-all-reduce
--distributed-executor-backend=
--master-addr=
--master-port=
--nnodes -n=
--node-rank -r=
--data-parallel-rank -dpn=
--data-parallel-start-rank -dpr=
--data-parallel-size-local -dpl=
--data-parallel-address -dpa=
--data-parallel-rpc-port -dpp=
--data-parallel-backend -dpb=
--data-parallel-hybrid-lb -dph
--data-parallel-external-lb -dpe
--all2all-backend=
--expert-placement-strategy=
--max-parallel-loading-workers=
--worker-cls=
--worker-extension-cls=
--enable-prompt-tokens-details
--enable-server-load-tracking
--enable-force-include-usage
--enable-tokenizer-info-endpoint
--return-tokens-as-token-ids
--disable-fastapi-docs
--enable-ssl-refresh
--otlp-traces-endpoint=
--collect-detailed-traces=*
--show-hidden-metrics-for-version=
--kv-transfer-config=
--kv-events-config=
--structured-outputs-config=
--guided-decoding-backend=
--prefix-caching-hash-algo=
--mm-processor-cache-gb=
--mm-processor-cache-type=
--media-io-kwargs=
--interleave-mm-strings
--numa-bind !--no-numa-bind
--moe-backend=
--linear-backend=
--swap-space=
--calculate-kv-scales !--no-calculate-kv-scales
--num-lookahead-slots=
--disable-frontend-multiprocessing
--enable-cors
--max-seq-len-to-capture=
--num-scheduler-steps=
--use-v2-block-manager
"""
# fmt: on
FLAGS: Final = flags_of(taken=TAKEN, uncounted=UNCOUNTED, harmless=HARMLESS)

_UNITS: Final = {
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "K": 1 << 10,
    "M": 1 << 20,
    "G": 1 << 30,
    "T": 1 << 40,
}
_WHOLE: Final = ("--max-model-len", "--max-num-seqs", "--max-num-batched-tokens", "--kv-cache-memory-bytes")


def _whole(text: str) -> str:
    """A whole number as vLLM reads it: small letters count in thousands, capital ones in powers of 1024."""
    digits, unit = (text[:-1], _UNITS.get(text[-1:])) if text[-1:].isalpha() else (text, 1)
    try:
        return str(int(float(digits[:40]) * unit)) if unit else text
    except (ValueError, OverflowError):
        return text


def in_our_words(flag: Flag, name: str, value: str) -> list[str]:
    """Options of ours that say what a flag says; none where it says what is so anyway."""
    if not flag.takes:
        return [] if name in flag.off else [flag.ours]
    if value == "auto" or (flag.ours == "--max-model-len" and value == "-1"):
        return []
    return [flag.ours, _whole(value) if flag.ours in _WHOLE else value]
