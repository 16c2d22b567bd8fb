"""What honest models look like, and checkers often cry about: none of these may warn."""

from __future__ import annotations

import json

import pytest
from audit_builder import (
    CONFIG,
    FF,
    D,
    V,
    audit,
    gguf_bytes,
    hub_snapshot,
    llama_folder,
    llama_layer,
    llama_tensors,
    loud,
    projector_bytes,
    sharded,
    split_gguf,
    st_bytes,
    write,
)
from gguf_builder import STR, Arr, Tensor, build


def assert_clean(path):
    report = audit(path)
    assert loud(report) == []
    assert report.verdict == "pass"


def test_links_of_a_hub_cache_leave_its_snapshots(tmp_path):
    files = {"config.json": CONFIG, "model.safetensors": st_bytes(llama_tensors()), "1_Pooling/config.json": {}}
    snapshot = hub_snapshot(tmp_path, files)
    assert_clean(snapshot)
    assert_clean(tmp_path / "models--org--name")
    assert_clean(snapshot / "model.safetensors")


def test_an_embedding_has_more_rows_than_the_tokenizer_has_tokens(tmp_path):
    tokenizer = {"added_tokens": [], "model": {"vocab": {f"t{i}": i for i in range(V - 7)}}}
    assert_clean(llama_folder(tmp_path, **{"tokenizer.json": tokenizer}))


@pytest.mark.parametrize(
    "config", [{"tie_word_embeddings": True}, {"model_type": "gemma2", "tie_word_embeddings": None}]
)
def test_tied_embeddings_have_no_head(tmp_path, config):
    merged = {k: v for k, v in (CONFIG | config).items() if v is not None}
    folder = write(tmp_path, {"model.safetensors": st_bytes(llama_tensors(head=False)), "config.json": merged})
    assert_clean(folder)


def test_an_adapter_has_no_base_beside_it(tmp_path):
    at = "base_model.model.model.layers.31.self_attn.q_proj."
    tensors = {at + "lora_A.weight": ("F32", (8, 4096)), at + "lora_B.weight": ("F32", (4096, 8))}
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "meta-llama/Llama-2-7b",
        "r": 8,
        "target_modules": ["q_proj"],
    }
    assert_clean(write(tmp_path, {"adapter_model.safetensors": st_bytes(tensors), "adapter_config.json": config}))


def test_an_adapter_lies_beside_the_config_of_its_base(tmp_path):
    tensors = {"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight": ("F32", (8, D))}
    assert_clean(write(tmp_path, {"adapter_model.safetensors": st_bytes(tensors), "config.json": CONFIG}))


@pytest.mark.parametrize("keys", [
    {"general.architecture": (STR, "clip"), "clip.has_vision_encoder": (7, 1)},
    {"general.architecture": (STR, "llama"), "general.type": (STR, "adapter"), "adapter.type": (STR, "lora")},
])  # fmt: skip
def test_projectors_and_adapters_have_no_block_count(tmp_path, keys):
    raw = build([(k, *v) for k, v in keys.items()], [Tensor("v.blk.0.attn_q.weight", (32, 32))])
    assert_clean(write(tmp_path, {"mmproj-model.gguf": raw}))


def test_version_2_is_a_good_version(tmp_path):
    assert_clean(write(tmp_path, {"model.gguf": gguf_bytes(version=2)}))


def test_a_first_part_has_no_tensors(tmp_path):
    assert_clean(split_gguf(tmp_path))
    assert_clean(tmp_path / "m-00001-of-00003.gguf")


@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (3, 0)])
def test_scalars_and_tensors_without_elements(tmp_path, shape):
    tensors = {"a": ("F32", shape), "b": ("F32", (2, 2))}
    assert_clean(write(tmp_path, {"model.safetensors": st_bytes(tensors)}))


def test_a_gguf_scalar(tmp_path):
    assert_clean(write(tmp_path, {"model.gguf": projector_bytes([Tensor("scale", ())])}))


def test_a_safetensors_file_without_tensors(tmp_path):
    assert_clean(write(tmp_path, {"model.safetensors": st_bytes()}))
    assert_clean(tmp_path / "model.safetensors")


@pytest.mark.parametrize("padding", [b" ", b"\n", b"\t", b"\r\n  \n"])
def test_headers_padded_by_white_space(tmp_path, padding):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    raw = json.dumps({"a": entry}).encode() + padding * 24
    assert_clean(write(tmp_path, {"model.safetensors": st_bytes(header=raw, data=bytes(8))}))


def test_header_order_is_not_data_order(tmp_path):
    header = {
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }
    raw = st_bytes(header=json.dumps(header).encode(), data=bytes(16))
    assert_clean(write(tmp_path, {"model.safetensors": raw}))


TEMPLATE = (
    "{% set ns = namespace(found=false) %}{% for m in messages %}{{ m['role'] + ': os.system, subprocess.run, eval('"
    " + m['content'] }}{% set ns.found = true %}{% endfor %}"
)


def test_namespaces_and_code_like_words_in_a_template(tmp_path):
    # the words are text between quotation marks: nothing is called
    assert_clean(llama_folder(tmp_path, **{"chat_template.jinja": TEMPLATE}))


def test_code_like_words_in_a_vocabulary(tmp_path):
    words = ["subprocess", "os.system", "__import__", "eval(", "exec", "__class__", "{{", "%}"] + [
        f"a{i}" for i in range(24)
    ]
    merges = ["sub process", "os .system", "__ import__", "ev al("]
    raw = gguf_bytes({"tokenizer.ggml.tokens": (9, Arr(STR, words)), "tokenizer.ggml.merges": (9, Arr(STR, merges))})
    assert_clean(write(tmp_path / "gguf", {"model.gguf": raw}))
    tokenizer = {"model": {"vocab": {w: i for i, w in enumerate(words[:8])}, "merges": merges}, "added_tokens": []}
    assert_clean(llama_folder(tmp_path / "st", **{"tokenizer.json": tokenizer}))


@pytest.mark.parametrize("config", [{"num_nextn_predict_layers": 1}, {}])
def test_layers_beyond_the_count_that_predict_further_tokens(tmp_path, config):
    at = "model.layers.2."
    ahead = {at + "eh_proj.weight": ("BF16", (D, 2 * D)), at + "enorm.weight": ("BF16", (D,)), **llama_layer(2)}
    assert_clean(llama_folder(tmp_path, llama_tensors() | ahead, config))


def test_prediction_layers_under_a_name_of_their_own(tmp_path):
    ahead = {f"mtp.layers.{i}.mlp.down_proj.weight": ("BF16", (D, FF)) for i in range(3)}
    assert_clean(llama_folder(tmp_path, llama_tensors() | ahead))


@pytest.mark.parametrize("prefix", ["language_model.", "model.language_model."])
def test_a_text_config_within_a_config(tmp_path, prefix):
    outer = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
             "text_config": {k: v for k, v in CONFIG.items() if k != "architectures"},
             "vision_config": {"num_hidden_layers": 5, "hidden_size": 99}}  # fmt: skip
    tensors = {prefix + name.removeprefix("model.") if "language" in prefix[:7] else prefix + name: v
               for name, v in llama_tensors().items()}  # fmt: skip
    tensors |= {f"vision_tower.encoder.layers.{i}.self_attn.q_proj.weight": ("BF16", (99, 99)) for i in range(5)}
    folder = write(tmp_path, {"config.json": outer, "model.safetensors": st_bytes(tensors)})
    assert_clean(folder)


def packed(method):
    tensors = llama_tensors(1)
    at = "model.layers.0.self_attn.q_proj."
    del tensors[at + "weight"]
    config = {"num_hidden_layers": 1, "quantization_config": {"quant_method": method, "bits": 4}}
    if method == "gptq":
        tensors |= {at + "qweight": ("I32", (D // 8, D)), at + "qzeros": ("I32", (1, D // 8)),
                    at + "scales": ("F16", (1, D)), at + "g_idx": ("I32", (D,))}  # fmt: skip
    elif method == "awq":
        tensors |= {
            at + "qweight": ("I32", (D, D // 8)),
            at + "qzeros": ("I32", (1, D // 8)),
            at + "scales": ("F16", (1, D)),
        }
    elif method == "bitsandbytes":
        tensors |= {at + "weight": ("I8", (D, D)), at + "SCB": ("F32", (D,)), at + "weight_format": ("U8", ())}
    elif method == "fp8":
        tensors |= {at + "weight": ("F8_E4M3", (D, D)), at + "weight_scale_inv": ("F32", (1, 1))}
    else:
        tensors |= {at + "weight_packed": ("I32", (D, D // 8)), at + "weight_scale": ("BF16", (D, 1)),
                    at + "weight_shape": ("I64", (2,))}  # fmt: skip
    return tensors, config


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors"])
def test_packed_tensors_have_other_shapes_than_the_config(tmp_path, method):
    assert_clean(llama_folder(tmp_path, *packed(method)))


def test_mlx_packs_embeddings_too(tmp_path):
    tensors = llama_tensors(1)
    at = "model.embed_tokens."
    tensors |= {at + "weight": ("U8", (V, D // 2)), at + "scales": ("BF16", (V, 1)), at + "biases": ("BF16", (V, 1))}
    config = {"num_hidden_layers": 1, "quantization": {"bits": 4, "group_size": 16}}
    assert_clean(llama_folder(tmp_path, tensors, config))


def test_consolidated_beside_shards(tmp_path):
    whole = st_bytes({"tok_embeddings.weight": ("BF16", (V, D))})
    assert_clean(sharded(tmp_path, **{"consolidated.safetensors": whole, "params.json": {"dim": D}}))


def test_a_total_size_that_is_off(tmp_path):
    assert_clean(sharded(tmp_path, total=123))


def test_left_over_rotary_frequencies(tmp_path):
    more = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": ("F32", (2,)) for i in range(2)}
    assert_clean(llama_folder(tmp_path, llama_tensors() | more))


def test_a_sentence_transformers_folder(tmp_path):
    bert = {"embeddings.word_embeddings.weight": ("F32", (V, D)), "embeddings.LayerNorm.weight": ("F32", (D,)),
            **{f"encoder.layer.{i}.attention.self.query.weight": ("F32", (D, D)) for i in range(2)}}  # fmt: skip
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": D, "num_hidden_layers": 2,
              "num_attention_heads": 4, "vocab_size": V}  # fmt: skip
    dense = {"in_features": D, "out_features": 4, "activation_function": "torch.nn.modules.activation.Tanh"}
    files = {
        "config.json": config, "model.safetensors": st_bytes(bert), "modules.json": [{"idx": 0, "path": ""}],
        "1_Pooling/config.json": {"word_embedding_dimension": D}, "2_Dense/config.json": dense,
        "2_Dense/model.safetensors": st_bytes({"linear.weight": ("F32", (4, D)), "linear.bias": ("F32", (4,))}),
    }  # fmt: skip
    assert_clean(write(tmp_path, files))


def test_a_diffusers_pipeline(tmp_path):
    unet = {"_class_name": "FluxTransformer2DModel", "num_layers": 1, "num_attention_heads": 3, "hidden_size": 7}
    files = {
        "model_index.json": {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]},
        "transformer/config.json": unet,
        "transformer/diffusion_pytorch_model.safetensors": st_bytes({"blocks.5.to_q.weight": ("BF16", (4, 4))}),
        "vae/config.json": {"_class_name": "AutoencoderKL"},
        "vae/diffusion_pytorch_model.safetensors": st_bytes({"decoder.conv_in.weight": ("BF16", (4, 4, 3, 3))}),
        "scheduler/scheduler_config.json": {"_class_name": "FlowMatch"},
    }  # fmt: skip
    assert_clean(write(tmp_path, files))


def test_several_quants_of_one_model_in_a_folder(tmp_path):
    assert_clean(write(tmp_path, {f"model-{q}.gguf": gguf_bytes() for q in ("F16", "F32", "Q8_0")}))


def test_precisions_of_one_model_side_by_side(tmp_path):
    folder = llama_folder(tmp_path, **{"model.fp16.safetensors": st_bytes(llama_tensors(dtype="F16"))})
    assert_clean(folder)


def test_a_config_alone(tmp_path):
    assert_clean(write(tmp_path, {"config.json": CONFIG}))
    assert_clean(tmp_path / "config.json")


@pytest.mark.models
def test_real_models(models_dir):
    assert_clean(models_dir / "all-MiniLM-L6-v2")
    assert_clean(models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf")


def test_models_as_llama_cpp_was_measured_with(sparse_model, root):
    names = sorted(p.name.removesuffix(".gguf-header.gz") for p in (root / "fixtures/llamacpp-headers").glob("*.gz"))
    assert len(names) > 20
    for name in names:
        assert_clean(sparse_model(name))


def test_every_published_config_with_the_tensors_that_it_promises(tmp_path, root):
    from inspector.architectures.hf_config import HfConfig
    from inspector.architectures.hf_tensors import expected_tensors

    n = 0
    for path in sorted((root / "fixtures" / "configs").glob("*.json")):
        config = json.loads(path.read_text())
        tensors = expected_tensors(HfConfig(config))
        if tensors is None or "quantization_config" in config:
            continue
        entries, at = {}, 0
        for t in tensors:
            entries[t.name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [at, at + 2 * t.n_elements]}
            at += 2 * t.n_elements
        folder = write(tmp_path / path.stem, {"config.json": config})
        raw = st_bytes(header=json.dumps(entries).encode(), data=b"")
        (folder / "model.safetensors").write_bytes(raw)
        with open(folder / "model.safetensors", "r+b") as file:
            file.truncate(len(raw) + at)
        assert_clean(folder)
        n += 1
    assert n > 35


def test_a_folder_of_many_vocabularies(tmp_path):
    """llama.cpp's own models/: GGUFs that are vocabularies alone, more than 48 MiB of headers together."""
    tokens = Arr(8, [f"{i}" * (1 << 19) for i in range(10, 36)])
    keys = {"tokenizer.ggml.tokens": (9, tokens), "tokenizer.ggml.scores": None, "tokenizer.ggml.token_type": None}
    raw = gguf_bytes(keys, [])
    write(tmp_path, {f"vocab-{i}.gguf": raw for i in "abc"})
    assert 2 * len(raw) > 48 << 20
    assert not {f.code for f in audit(tmp_path).findings} & {"FL012", "FL013"}
