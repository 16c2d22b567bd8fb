"""`sglang serve`'s and `python -m sglang.launch_server`'s command lines in our words.

Names and kinds: sglang 0.5.23 srt/arg_groups/fields/*.py and srt/server_args.py (add_cli_args), with the names that
argparse takes for them cut short (`--tp`), and `--cuda-graph-max-bs` of older releases.
"""

from __future__ import annotations

from inspector.cli.pasted.records import Flag, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# fmt: off
TAKEN: Final = """
--cuda-graph-max-bs --cuda-graph-max-bs-decode= -> --cuda-graph-max-bs-decode
--model --model-path= -> target
--context-length= -> -c
--revision= -> revision
--dtype= -> --dtype
--kv-cache-dtype= -> --kv-cache-dtype
--tp --tensor-parallel-size --tp-size= -> -tp
--mem-fraction-static= -> --mem-fraction-static
--max-running-requests= -> --max-running-requests
--chunked-prefill-size= -> --chunked-prefill-size
--disable-cuda-graph -> --disable-cuda-graph
"""
# Memory depends on these, and no figure here does; those of one name stand together.
_UNCOUNTED: Final = """
--disaggregation-mode= --num-reserved-decode-tokens= --disaggregation-decode-extra-slots= --encoder-only
--language-only --language-model-only --enable-fp32-lm-head --enable-memory-saver --enable-weights-cpu-backup
--enable-draft-weights-cpu-backup --attention-backend= --decode-attention-backend= --prefill-attention-backend=
--prefill-kv-cache-dequant-dtype= --enable-deepseek-v4-fp4-indexer --mamba-ssm-dtype= --mamba-max-states-per-path=
--mamba-radix-cache-strategy= --mamba-track-interval= --enable-int8-mamba-checkpoint --int8-mamba-ckpt-size=
--enable-linear-replayssm --linear-replayssm-cache-len= --enable-linear-replayssm-spec --cuda-graph-config=
--cuda-graph-backend-decode= --cuda-graph-backend-prefill= --cuda-graph-max-bs-prefill=
--cuda-graph-max-seq-len-prefill= --cuda-graph-bs-decode=* --cuda-graph-bs-prefill=* --disable-prefill-cuda-graph
--disable-decode-cuda-graph --enable-torch-compile --torch-compile-max-bs= --enable-nccl-nvls --enable-symm-mem
--moe-a2a-backend= --deepep-v2-mode= --moe-runner-backend= --deepep-mode= --deepep-dispatcher-output-dtype=
--ep-num-redundant-experts= --enable-eplb --deepep-config= --enable-paged-experts --paged-experts-num-resident=
--kt-weight-path= --kt-method= --kt-cpuinfer= --kt-threadpool-count= --kt-num-gpu-experts=
--kt-max-deferred-experts-per-token= --enable-two-batch-overlap --enable-single-batch-overlap --cpu-offload-gb=
--offload-group-size= --offload-num-in-group= --offload-prefetch-step= --offload-mode= --ple-offload-backend=
--ple-offload-dir= --dllm-algorithm= --dllm-algorithm-config= --enable-lora --max-lora-rank= --lora-target-modules=*
--lora-paths=* --max-loaded-loras= --max-loras-per-batch= --lora-use-virtual-experts --enable-page-major-kv-layout
--enable-unified-memory --hicache-host-memory-mode= --hicache-ratio= --hicache-size= --hicache-host-memory-fraction=
--enable-hisparse --enable-lmcache --lmcache-config-file= --enable-multimodal --mm-attention-backend=
--limit-mm-data-per-request= --is-embedding --json-model-override-args= --quantization= --qsa-indexer-dtype=
--modelopt-quant= --quantize-and-serve --pp-max-micro-batch-size= --dwdp-size= --enable-prefill-cp
--enable-dsa-cache-layer-split --enable-cp-decode-attn-tp --enable-kv-cache-sharding --enable-dp-lm-head
--enable-shared-experts-attn-tp --shared-experts-tp-size= --enable-dense-mlp-attn-tp --moe-dense-tp-size=
--max-ep-size= --max-total-tokens= --max-prefill-tokens= --page-size= --c128-page-size= --swa-full-tokens-ratio=
--swa-prefix-tails= --disable-hybrid-swa-memory --prefill-only-disable-kv-cache --max-mamba-cache-size=
--mamba-full-memory-ratio= --speculative-algorithm= --uno-lora-path= --speculative-num-steps=
--speculative-eagle-topk= --speculative-num-draft-tokens= --speculative-dflash-block-size=
--speculative-dspark-block-size= --speculative-draft-kv-cache-dtype= --speculative-draft-window-size=
--speculative-draft-sink-size= --speculative-draft-model-quantization= --enable-multi-layer-eagle
--speculative-adaptive --speculative-ngram-max-trie-depth= --speculative-ngram-capacity= --enable-dp-attention
--cuda-graph-bs=*
"""
UNCOUNTED: Final = """
--context-bucket --cuda-graph-prefill-max-context=
--ple-offload-embedding !--no-ple-offload-embedding
--dllm-fdfo !--no-dllm-fdfo
--experts-shared-outer-loras !--no-experts-shared-outer-loras
--enable-hicache --enable-hierarchical-cache
--hierarchical-sparse-attention-extra-config --hisparse-config=
--mm-enable-dp-encoder !--no-mm-enable-dp-encoder
--decode-context-parallel-size --dcp-size=
--pp --pipeline-parallel-size --pp-size=
--dp --data-parallel-size --dp-size=
--attention-data-parallel-size --attn-dp-size=
--attention-context-parallel-size --attn-cp-size=
--moe-data-parallel-size --moe-dp-size=
--dcp-replicate-q-proj !--no-dcp-replicate-q-proj
--enable-tp-lm-head-all-to-all !--no-enable-tp-lm-head-all-to-all
--expert-parallel-size --ep --ep-size=
--speculative-draft-model --speculative-draft-model-path=
""" + "\n".join(_UNCOUNTED.split())
# No memory that is counted here depends on these.
_HARMLESS: Final = """
--device= --base-gpu-id= --gpu-id-step= --random-seed= --mlx-enable-sampling --watchdog-timeout=
--soft-watchdog-timeout= --sleep-on-idle --use-ray --numa-node=* --gc-threshold=* --decoupled-spec-bind-endpoint=
--decoupled-spec-connect-endpoints=* --decoupled-spec-rank= --decoupled-spec-role=
--disaggregation-decode-allocation-policy= --disaggregation-transfer-backend= --disaggregation-enable-kv-checksum
--disaggregation-bootstrap-port= --disaggregation-ib-device= --disaggregation-decode-enable-radix-cache
--disaggregation-decode-enable-offload-kvcache --disaggregation-decode-retraction-backup=
--disaggregation-decode-polling-interval= --enable-pd-role-switch --optimistic-prefill-attempts=
--encoder-transfer-backend= --encoder-urls=* --encoder-bootstrap-port= --encoder-register-urls=*
--enable-adaptive-dispatch-to-encoder --enable-pdmux --pdmux-config-path= --sm-group-num=
--disaggregation-decode-host-receive-threshold= --enable-custom-logit-processor --enable-watermark --watermark-config=
--enable-return-hidden-states --return-hidden-states-mode= --enable-return-aux-hidden-states
--return-aux-hidden-state-layer-ids=* --enable-return-routed-experts --enable-return-indexer-topk
--enable-encoder-swa-bounded-replay --sampling-mask-max-tokens= --disable-outlines-disk-cache --enable-mis
--enable-lean-attention --enable-nvidia-megakernel --enable-amd-monokernel --grammar-backend= --fp8-gemm-backend=
--fp4-gemm-backend= --bf16-gemm-backend= --dsa-prefill-backend= --dsv4-prefill-backend= --dsa-triton-union=
--dsa-decode-backend= --dsv4-attn-backend= --dsa-paged-mqa-logits-backend= --dsa-topk-backend=
--disable-flashinfer-autotune --flashinfer-autotune-skip-ops=* --triton-attention-reduce-in-fp32
--triton-attention-num-kv-splits= --triton-attention-split-tile-size= --flashinfer-mla-disable-ragged
--enable-precise-embedding-interpolation --mamba-backend= --enable-mamba-cache-stochastic-rounding
--mamba-cache-philox-rounds= --linear-attn-backend= --linear-attn-decode-backend= --linear-attn-prefill-backend=
--linear-attn-verify-backend= --disable-cuda-graph-padding --enable-profile-cuda-graph --enable-cudagraph-gc
--debug-cuda-graph --enable-torch-compile-debug-mode --enable-layerwise-nvtx-marker --disable-custom-all-reduce
--enable-mscclpp --enable-torch-symm-mem --enable-scattered-sconv --pre-warm-nccl --boundary-reduction=
--enable-quant-communications --enforce-disable-flashinfer-allreduce-fusion --flashinfer-allreduce-fusion-backend=
--enable-aiter-allreduce-fusion --disable-aiter-allreduce-fusion-in-prefill --disable-aiter-allreduce-fusion-in-decode
--enable-fused-moe-sum-all-reduce --enable-w4a4-mxfp4-megamoe --flashinfer-mxfp4-moe-precision= --fuseep-mode=
--flashinfer-a2a-dispatch-type= --ep-dispatch-algorithm= --init-expert-location= --eplb-algorithm=
--eplb-rebalance-num-iterations= --eplb-rebalance-layers-per-chunk= --eplb-min-rebalancing-utilization-threshold=
--expert-distribution-recorder-mode= --expert-distribution-recorder-buffer-size= --expert-balancedness-report-mode=
--elastic-ep-backend= --enable-elastic-expert-backup --mooncake-ib-device= --enable-waterfill --elastic-ep-join-mode=
--elastic-ep-scale-timeout= --disable-flashinfer-cutlass-moe-fp4-allgather --disable-shared-experts-fusion
--enforce-shared-experts-fusion --tbo-token-distribution-threshold= --enable-deterministic-inference
--rl-on-policy-target= --enable-lora-overlap-loading --lora-eviction-policy= --lora-backend= --max-lora-chunk-size=
--lora-drain-wait-threshold= --radix-eviction-policy= --radix-eviction-policy-config= --disable-radix-cache
--enable-session-radix-cache --radix-cache-backend= --hicache-write-policy= --hicache-io-backend=
--hicache-mem-layout= --hicache-storage-backend= --hicache-storage-prefetch-policy=
--hicache-storage-backend-extra-config= --hicache-storage-prefetch-retry-poll-interval=
--hicache-storage-prefetch-retry-max-attempts= --enable-unified-cache-external-linker
--unified-cache-external-linker-backend= --unified-cache-external-linker-config= --enable-linker-mla-dedup
--enable-flexkv --flexkv-config-file= --enable-broadcast-mm-inputs-process --enable-prefix-mm-cache
--mm-process-config= --mm-processor-worker-num= --mm-io-worker-num= --allowed-media-domains=*
--media-url-max-file-size-mb= --mm-preprocess-cache-size-mb= --trust-mm-content-hashes --enable-mm-global-cache
--image-processor-backend= --mm-global-cache-backend= --disable-fast-image-processor --mm-feature-transport=
--load-format= --model-loader-extra-config= --trust-remote-code --model-impl= --model-config-parser=
--quantization-param-path= --modelopt-checkpoint-restore-path= --modelopt-checkpoint-save-path=
--modelopt-export-path= --rl-quant-profile= --startup-weight-load-mode= --custom-weight-loader=*
--weight-loader-disable-mmap --weight-loader-prefetch-checkpoints --weight-loader-prefetch-num-threads=
--weight-loader-drop-cache-after-load --remote-instance-weight-loader-seed-instance-ip=
--remote-instance-weight-loader-seed-instance-service-port= --remote-instance-weight-loader-send-weights-group-ports=*
--remote-instance-weight-loader-backend= --remote-instance-weight-loader-start-seed-via-transfer-engine
--engine-info-bootstrap-port= --modelexpress-config= --download-dir= --model-checksum=? --delete-ckpt-after-loading
--decrypted-config-file= --decrypted-draft-config-file= --checkpoint-engine-wait-weights-before-ready
--weight-cache-mode= --weight-cache-socket= --weight-cache-timeout= --log-level= --log-level-http= --log-requests
--log-requests-level= --log-requests-format= --log-requests-target=* --uvicorn-access-log-exclude-prefixes=*
--crash-dump-folder= --show-time-cost --enable-metrics --enable-mfu-metrics --enable-metrics-for-all-schedulers
--load-snapshot-publish-interval= --tokenizer-metrics-custom-labels-header=
--tokenizer-metrics-allowed-custom-labels=* --extra-metric-labels= --bucket-time-to-first-token=*
--bucket-inter-token-latency=* --bucket-e2e-request-latency=* --prompt-tokens-buckets=* --generation-tokens-buckets=*
--gc-warning-threshold-secs= --decode-log-interval= --enable-request-time-stats-logging --kv-events-config=
--load-publish-endpoint= --enable-forward-pass-metrics --forward-pass-metrics-worker-id=
--forward-pass-metrics-ipc-name= --enable-trace --trace-modules= --otlp-traces-endpoint= --otlp-service-name=
--export-metrics-to-file --export-metrics-to-file-dir= --kv-canary= --kv-canary-sweep-interval=
--debug-tensor-dump-output-folder= --debug-tensor-dump-layers=* --debug-tensor-dump-input-file= --forward-hooks=*
--msprobe-dump-config= --nccl-port= --dist-timeout= --gated-launch-port= --nnodes= --node-rank=
--pp-async-batch-depth= --load-balance-method= --dcp-comm-backend= --cp-strategy=
--enable-dp-attention-local-control-broadcast --enable-attn-tp-input-scattered --enable-layernorm-sp
--enable-megamoe-for-layernorm-sp --disable-attn-tp-gather --enable-p2p-check --elastic-ep-join-rank-offset=
--elastic-ep-initial-size= --max-queued-requests= --prefill-decode-interval= --prefill-decode-interval-min-bs=
--enable-dynamic-chunking --prefill-max-requests= --schedule-policy= --enable-priority-scheduling
--disable-priority-preemption --default-priority-value= --abort-on-priority-when-disabled
--schedule-low-priority-values-first --priority-scheduling-preemption-threshold= --retraction-policy=
--schedule-conservativeness= --disable-chunked-prefix-cache --disable-overlap-schedule --num-continuous-decode-steps=
--scheduler-recv-interval= --enable-mixed-chunk --enable-prefill-delayer --prefill-delayer-max-delay-passes=
--prefill-delayer-token-usage-low-watermark= --prefill-delayer-forward-passes-buckets=*
--prefill-delayer-wait-seconds-buckets=* --prefill-delayer-queue-min-ratio= --prefill-delayer-max-delay-ms=
--min-free-slots-delay= --enable-response-store --tokenizer-path= --tokenizer-mode= --tokenizer-backend=
--tokenizer-worker-num= --detokenizer-worker-num= --skip-tokenizer-init --host= --port= --fastapi-root-path=
--enable-http-worker-reuseport --smg-grpc-mode --grpc-mode --grpc-port= --grpc-response-timeout-secs= --sidecar=
--sidecar-args=* --skip-server-warmup --warmups= --enable-http2 --http2-max-concurrent-streams=
--http2-initial-connection-window-size= --ssl-keyfile= --ssl-certfile= --ssl-ca-certs= --ssl-keyfile-password=
--enable-ssl-refresh --api-key= --admin-api-key= --served-model-name= --weight-version= --chat-template=
--trust-request-chat-template --hf-chat-template-name= --completion-template= --file-storage-path=
--enable-cache-report --return-input-ids --return-output-ids --default-chat-template-kwargs= --strip-thinking-cache
--enable-strict-thinking --tool-server= --sampling-defaults= --asr-max-buffer-seconds= --asr-max-concurrent-sessions=
--preferred-sampling-params= --allow-auto-truncate --stream-interval= --batch-notify-size=
--stream-response-default-include-usage --incremental-streaming-output --enable-streaming-session
--constrained-json-whitespace-pattern= --constrained-json-disable-any-whitespace
--constrained-json-max-whitespace-cnt= --enable-dynamic-batch-tokenizer --dynamic-batch-tokenizer-batch-size=
--dynamic-batch-tokenizer-batch-timeout= --enable-tokenizer-batch-encode --disable-tokenizer-batch-decode
--speculative-draft-model-revision= --speculative-draft-load-format= --speculative-domino-candidate-pool-size=
--speculative-dspark-sps-table-path= --speculative-dspark-confidence-sts-path=
--speculative-dspark-align-verify-tokens-to-graph-tier --speculative-accept-threshold-single=
--speculative-accept-threshold-acc= --speculative-use-rejection-sampling --speculative-use-block-verification
--speculative-token-map= --speculative-attention-mode= --speculative-draft-attention-backend=
--speculative-dsa-topk-backend= --speculative-moe-runner-backend= --speculative-moe-a2a-backend=
--speculative-adaptive-config= --spec-trace-dir= --speculative-ngram-min-bfs-breadth=
--speculative-ngram-max-bfs-breadth= --speculative-ngram-match-type= --speculative-ngram-external-corpus-path=
--speculative-ngram-external-sam-budget= --speculative-ngram-external-corpus-max-tokens= --sampling-backend=
--reasoning-parser= --tool-call-parser= --kv-canary-real-data= --config= --monokernel-backend=
--enable-flashinfer-allreduce-fusion --model-type=
"""
HARMLESS: Final = """
--enable-tf32-matmul !--no-enable-tf32-matmul
--enable-decoder-swa-bounded-replay !--no-enable-decoder-swa-bounded-replay
--enable-fused-qk-norm-rope !--no-enable-fused-qk-norm-rope
--enable-dsa-fused-indexer !--no-enable-dsa-fused-indexer
--lora-strict-loading !--no-lora-strict-loading
--grpc-http-sidecar-port --smg-http-sidecar-port=
--nccl-init-addr --dist-init-addr=
--speculative-enable-w4a4-mxfp4-megamoe !--no-speculative-enable-w4a4-mxfp4-megamoe
""" + "\n".join(_HARMLESS.split())
# fmt: on
FLAGS: Final = flags_of(taken=TAKEN, uncounted=UNCOUNTED, harmless=HARMLESS)

_DTYPES: Final = {"half": "float16", "float": "float32"}


def in_our_words(flag: Flag, name: str, value: str) -> list[str] | None:  # noqa: ARG001 - as other engines' are called
    """Options of ours that say what a flag says; none where it says what is so anyway, None where nothing here does."""
    if not flag.takes:
        return [flag.ours]
    if value == "auto":
        return []
    if flag.ours == "--chunked-prefill-size" and not value.isdecimal():  # -1: prompts are taken whole
        return None
    return [flag.ours, _DTYPES.get(value, value)]
