"""Run llama.cpp's own converter on checkpoints that hold no data; writes fixtures/convert.jsonl.gz.

usage: measure_convert.py LLAMA_CPP_FOLDER CONFIGS.jsonl[.gz] OUT.jsonl.gz
Needs torch and transformers 5.24 beside llama.cpp b11434. Each line of CONFIGS has `name` and `config` (the fixture
itself will do). A model is built on torch's meta device, its tensors written as a sparse safetensors file under the
names that published files use, and converted lazily: names, shapes and types come out, no value is read.
"""

from __future__ import annotations

import gzip
import importlib
import json
import math
import os
import struct
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

NAMES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "int64": "I64"}
SIZES = {"F32": 4, "BF16": 2, "F16": 2, "I64": 8}
Tensors = dict[str, tuple[tuple[int, ...], str]]


def published(config: dict[str, Any]) -> Tensors:
    """Names, shapes and types of the checkpoint that transformers would publish for this config."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    loading = importlib.import_module("transformers.core_model_loading")
    options = {k: v for k, v in config.items() if k != "model_type"}
    built = transformers.AutoConfig.for_model(config["model_type"], **options)
    with torch.device("meta"):
        named = getattr(transformers, config["architectures"][0], None)
        model = (named(built) if named else transformers.AutoModelForCausalLM.from_config(built)).to(torch.bfloat16)
    model.tie_weights()
    state = loading.revert_weight_conversion(model, model.state_dict())
    if getattr(built.get_text_config(), "tie_word_embeddings", False):
        for name in getattr(model, "all_tied_weights_keys", {}):
            state.pop(name, None)
    return {k: (tuple(v.shape), NAMES[str(v.dtype).removeprefix("torch.")]) for k, v in state.items()}


def write_sparse(path: Path, tensors: Tensors) -> None:
    """A safetensors file of full size whose data are a hole."""
    end, header = 0, {}
    for name, (shape, dtype) in tensors.items():
        start, end = end, end + SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)


def plain(value: Any) -> Any:
    """A key's value as JSON takes it."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value


def converted(folder: Path, *, mtp: bool) -> dict[str, Any]:
    """What the converter makes of the checkpoint in this folder."""
    gguf, conversion = importlib.import_module("gguf"), importlib.import_module("conversion")
    base = importlib.import_module("conversion.base")
    config = base.ModelBase.load_hparams(folder, is_mistral_format=False)
    kind = conversion.get_model_class(base.get_model_architecture(config, base.ModelType.TEXT))
    # Qwen's converter insists on the multi-token prediction that published files have, unless told otherwise.
    kind.no_mtp = config["model_type"].startswith("qwen3") and not mtp
    model = kind(folder, gguf.LlamaFileType.MOSTLY_F16, folder / "out.gguf", eager=False)
    model.set_vocab = lambda: None
    model.prepare_tensors()
    try:
        model.set_gguf_parameters()
    except KeyError as missing:  # a config without a key that only the vocabulary or the graph needs
        print(f"{config['model_type']}: no key {missing}", file=sys.stderr)
    tensors = [(n, t) for part in model.gguf_writer.tensors for n, t in part.items()]
    arch = gguf.MODEL_ARCH_NAMES[model.model_arch]
    written = {k: plain(v.value) for k, v in model.gguf_writer.kv_data[0].items()}
    keys = {k: v for k, v in written.items() if k == "general.architecture" or k.startswith(f"{arch}.")}
    keys.pop(f"{arch}.activation_sparsity_scale", None)  # one figure a layer that neither sizes nor mixes depend on
    return {
        "arch": arch,
        "gguf": [[n, [int(x) for x in t.shape], t.dtype.name] for n, t in tensors],
        "keys": keys,
    }


def measure(name: str, config: dict[str, Any], hf: Tensors | None) -> dict[str, Any]:
    """One row. `hf`: the tensors of a row that has them (multi-token prediction is in no transformers model)."""
    tensors = hf or published(config)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "config.json").write_text(json.dumps(config))
        vocab = {str(i): i for i in range(int(config.get("vocab_size") or 0))}
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))
        write_sparse(folder / "model.safetensors", tensors)
        row = converted(folder, mtp=any(n.startswith("mtp.") for n in tensors))
    return {"name": name, "config": config, "hf": [[n, list(s), d] for n, (s, d) in tensors.items()], **row}


def main() -> None:
    """See the module's first words."""
    llama_cpp, configs, out = sys.argv[1:]
    sys.path[:0] = [f"{llama_cpp}/gguf-py", llama_cpp]
    importlib.import_module("transformers")  # before the stand-in below, which it would take for the real thing
    # The converter imports sentencepiece for vocabularies, which are not converted here.
    sys.modules.setdefault("sentencepiece", types.ModuleType("sentencepiece")).__dict__["SentencePieceProcessor"] = (
        object
    )
    with (gzip.open if configs.endswith(".gz") else open)(configs, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    with gzip.GzipFile(out, "wb", mtime=0) as sink:
        for row in rows:
            mtp = any(n.startswith("mtp.") for n, _, _ in row.get("hf", ()))
            given = {n: (tuple(s), d) for n, s, d in row["hf"]} if mtp else None
            result = measure(row["name"], row["config"], given)
            sink.write((json.dumps(result, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
