"""Start-up logs in the forms that llama.cpp and vLLM print, cut down to what is read."""

from __future__ import annotations

# llama-server of b11434, llama-3.2-1b with all layers on a card of 24 GiB
NEW = """\
0.00.011.287 I cmn  common_param: common_params_print_info: build 11434 (abc1234) with GNU 12.2.0 for Linux x86_64
0.00.011.300 I cmn  common_param:   - CUDA0   : A card (24576 MiB, 24000 MiB free)
0.00.011.306 I cmn  common_param:   - CPU     : A processor (24105 MiB, 24105 MiB free)
0.00.013.977 I srv    load_model: loading model 'm/llama-3.2-1b.gguf'
0.00.015.493 I llama_model_loader: loaded meta data with 16 key-value pairs and 147 tensors from m/llama-3.2-1b.gguf \
(version GGUF V3 (latest))
0.00.015.891 I llama_prepare_model_devices: using device CUDA0 (A card) (0000:01:00.0) - 24000 MiB free
0.01.132.921 I load_tensors: offloaded 17/17 layers to GPU
0.01.132.942 I load_tensors:   CPU_Mapped model buffer size =   140.91 MiB
0.01.132.956 I load_tensors:        CUDA0 model buffer size =   698.23 MiB
0.01.134.707 I llama_context: n_seq_max             = 4
0.01.134.720 I llama_context: n_ctx                 = 8192
0.01.134.746 I llama_context: n_batch               = 2048
0.01.134.759 I llama_context: n_ubatch              = 512
0.01.134.786 I llama_context: flash_attn            = auto
0.01.134.799 I llama_context: kv_unified            = true
0.01.134.852 I llama_context: n_outputs_max         = 4
0.01.136.012 I llama_context:  CUDA_Host  output buffer size =     1.96 MiB
0.01.136.316 I llama_kv_cache:      CUDA0 KV buffer size =   256.00 MiB
0.01.136.339 I llama_kv_cache: size =  256.00 MiB (  8192 cells,  16 layers,  4/1 seqs), K (f16):  128.00 MiB, \
V (f16):  128.00 MiB
0.01.138.947 I sched_reserve:      CUDA0 compute buffer size =    72.01 MiB
0.01.138.966 I sched_reserve:  CUDA_Host compute buffer size =    24.02 MiB
0.01.143.708 I srv  llama_server: model loaded
"""
OLD = """\
build: 4321 (deadbee) with cc for x86_64-linux-gnu
llm_load_tensors: offloaded 33/33 layers to GPU
llm_load_tensors:        CPU buffer size =    88.81 MiB
llm_load_tensors:      CUDA0 buffer size =  4685.67 MiB
llama_new_context_with_model: n_seq_max     = 1
llama_new_context_with_model: n_ctx         = 2048
llama_new_context_with_model: flash_attn    = 0
llama_kv_cache_init:      CUDA0 KV buffer size =   640.00 MiB
llama_new_context_with_model:      CUDA0 compute buffer size =   258.50 MiB
"""
VLLM = """\
INFO 08-09 10:00:00 [core.py:58] Initializing a V1 LLM engine (v0.11.0) with config: model='org/name', \
speculative_config=None, tokenizer='org/name', dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=2, \
quantization=None, enforce_eager=False, kv_cache_dtype=auto
INFO 08-09 10:00:01 [scheduler.py:205] Chunked prefill is enabled with max_num_batched_tokens=2048.
INFO 08-09 10:00:09 [gpu_model_runner.py:2653] Model loading took 14.9888 GiB and 3.204 seconds
INFO 08-09 10:00:20 [gpu_worker.py:298] Available KV cache memory: 8.00 GiB
INFO 08-09 10:00:20 [kv_cache_utils.py:1087] GPU KV cache size: 65,536 tokens
INFO 08-09 10:00:20 [kv_cache_utils.py:1091] Maximum concurrency for 8,192 tokens per request: 8.00x
INFO 08-09 10:00:25 [gpu_model_runner.py:3480] Graph capturing finished in 5 secs, took 0.54 GiB
"""
