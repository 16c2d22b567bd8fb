"""The mutations of scripts/mutate.py: one wrong line each, chosen where a wrong number or verdict would hurt.

A row: name | what it breaks, in words | text that stands exactly once in the package | the wrong text | test files that
should notice. The text is searched over the whole package, so that rows survive moves of modules; test files are named
by the end of their path.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One wrong line. `tests`: ends of paths below tests/, the quickest to notice first."""

    name: str
    breaks: str
    old: str
    new: str
    tests: tuple[str, ...]


def _rows(tests: str, *rows: tuple[str, str, str, str]) -> tuple[Mutation, ...]:
    return tuple(Mutation(name, breaks, old, new, tuple(tests.split())) for name, breaks, old, new in rows)


# fmt: off
DRAFTING = _rows(
    "memory/test_drafting.py memory/test_beside.py",
    ("dr-sampler", "a sampler's probabilities are left out", "picks = rows * (3 * vocab + 1)", "picks = rows * (2 * vocab + 1)"),
    ("dr-encoder", "an eagle3's encoder reports a row a sequence", "rows = max(rows, sizes.n_ubatch)", "rows = max(rows, 0)"),
    ("dr-batch", "states of a micro-batch lie on the host", "nbytes = 4 * (rows * (facts.vocab_size or 0) + sizes.n_batch * states)", "nbytes = 4 * (rows * (facts.vocab_size or 0) + sizes.n_ubatch * states)"),
    ("dr-held", "what a draft reads dies with the layer", "        if il in self.r.kept:\n            x.is_output = True\n        return x\n\n    def rows_out", "        return x\n\n    def rows_out"),
    ("dr-last", "the last layer's output is read of any architecture", "facts.n_layers not in layers or facts.arch in _NAMES_OUTPUT", "True"),
    ("dr-names", "a graph without names hands its inputs over", "    if layers and not names:", "    if False:"),
    ("dr-fit", "the search forgets where experts lie", "where = placement if reads else", "where = None if reads else"),
    ("dr-whole", "layers that repeat are left out where some are read", "if not whole and not run.kept:", "if not whole:"),
)
OLDER_ON_CUDA = _rows(
    "memory/test_llamacpp_builds.py",
    ("oc-routing", "older builds hold what routes experts", '"holds routing": Span(11138)', '"holds routing": Span(9509)'),
    ("oc-reduced", "older builds hold experts' outputs", '"holds reduced experts": Span(10752)', '"holds reduced experts": Span(9509)'),
    ("oc-sinks", "older builds pass over sinks", '"passes over sinks": Span(10151)', '"passes over sinks": Span(9509)'),
    ("oc-inputs", "splits take any inputs too early", '"takes any inputs": Span(10840)', '"takes any inputs": Span(10248)'),
    ("oc-views", "inputs that only views read are held four times", "for x in nodes if x.op != VIEW for src in x.src", "for x in nodes for src in x.src"),
    ("oc-grade", "a build without CUDA's sources is sure of it", "build >= _ON_CUDA and facts.arch", "facts.arch"),
)
BYTES = _rows(
    "test_boundaries.py test_dtypes.py test_units.py",
    ("dtype-q4k-bytes", "Q4_K blocks lose two bytes", '"Q4_K",    256, 144,', '"Q4_K",    256, 142,'),
    ("dtype-q6k-elems", "Q6_K blocks hold half as much", '"Q6_K",    256, 210,', '"Q6_K",    128, 210,'),
    ("dtype-f6-bytes", "six-bit floats take a byte each", '"F6_E2M3",   4,   3,', '"F6_E2M3",   4,   4,'),
    ("dtype-row-floor", "rows that do not fill blocks are cut short in silence",
     '        if rest:\n            raise FormatError(f"{n_elements}', '        if rest < 0:\n            raise FormatError(f"{n_elements}'),
    ("dtype-innermost", "the outermost dimension is held against the block",
     "            n_elements *= dim\n            innermost = dim", "            n_elements *= dim\n            innermost = n_elements"),
    ("dtype-quantized-one", "plain types count as block quantised", "self.ggml_id is not None and self.block_elems > 1", "self.ggml_id is not None and self.block_elems > 0"),
    ("dtype-bits", "bits per weight ignore the block", "return self.block_bytes * 8 / self.block_elems", "return self.block_bytes * 8 / 32"),
    ("dtype-removed", "a removed type is called unknown", "if ggml_id in REMOVED_GGML_TYPES:\n        return", "if ggml_id not in REMOVED_GGML_TYPES:\n        return"),
    ("units-gib", "a GiB is a GB", "1 << 30, 1 << 40", "10**9, 1 << 40"),
    ("units-carry", "1,024.00 MiB is printed", "unit - unit // (KIB * 200)", "unit"),
    ("units-gb", "a GB has 10^9 bytes", '"mb": MIB, "gb": GIB,', '"mb": MIB, "gb": 10**9,'),
    ("units-g", "24G is said to be no shop's size", '"m": MIB, "g": GIB, "t": TIB,', '"m": MIB, "t": TIB,'),
    ("units-tokens-k", "32k tokens are 32,000", '{"": 1, "k": KIB, "m": MIB,', '{"": 1, "k": 1000, "m": MIB,'),
    ("units-count-exact", "fractions of counts lose a digit", "// 10 ** len(fraction)", "// 10 ** max(len(fraction), 1)"),
    ("units-pad", "padding adds a whole step to what fits", "return -(-value // alignment) * alignment", "return (value // alignment + 1) * alignment"),
    ("units-count-k", "a count of 1,000 is printed bare", "if count >= unit:", "if count > unit:"),
)

GGUF = _rows(
    "test_boundaries.py formats/test_gguf.py test_fixtures.py",
    ("gguf-oldest", "version 2 is refused", "OLDEST, NEWEST = 2, 3", "OLDEST, NEWEST = 3, 3"),
    ("gguf-newest", "version 4 is read", "if not OLDEST <= version <= NEWEST:", "if not OLDEST <= version:"),
    ("gguf-endian", "big-endian files are not told", "if version and not version & 0xFFFF:", "if version and not version & 0xFF:"),
    ("gguf-count-room", "counts that the file cannot hold pass", "if n * smallest > room:", "if n * smallest > room * 2:"),
    ("gguf-count-most", "the largest count allowed is refused", "    if n > most:\n        swapped", "    if n >= most:\n        swapped"),
    ("gguf-min-kv", "a key's smallest record is underestimated", "MIN_KV, MIN_TENSOR = 13, 24", "MIN_KV, MIN_TENSOR = 14, 24"),
    ("gguf-align-default", "data start on 64", "DEFAULT_ALIGNMENT = 32", "DEFAULT_ALIGNMENT = 64"),
    ("gguf-align-power", "an alignment of 48 is taken", "elif not value or value & (value - 1):", "elif not value:"),
    ("gguf-align-type", "an alignment of any type is taken", 'if header.types[key] != "u32":', 'if header.types[key] == "str":'),
    ("gguf-dims-order", "shapes come out innermost first", "RawTensor(name, tail[-3::-1],", "RawTensor(name, tail[:-2],"),
    ("gguf-max-dims", "five dimensions are allowed", "MAX_DIMS = 4", "MAX_DIMS = 5"),
    ("gguf-name-63", "names of 64 bytes are allowed", "MAX_NAME = 63", "MAX_NAME = 64"),
    ("gguf-dup-key", "the second of two equal keys counts", '            values.report("duplicate-key", "this key is given twice", start, where=key)\n            continue',
     '            values.report("duplicate-key", "this key is given twice", start, where=key)'),
    ("gguf-dup-tensor", "two tensors of one name pass", "        if name in seen:\n", "        if name in seen and not seen:\n"),
    ("gguf-negative-pair", "two negative dimensions make a positive size", "n *= max(0, dim)", "n *= dim"),
    ("gguf-place-padding", "tensors are expected without padding", "running += -(-(nbytes or 0) // alignment) * alignment", "running += nbytes or 0"),
    ("gguf-place-start", "tensor offsets are not moved to the data section", "raw.dtype, start + raw.offset, nbytes, words", "raw.dtype, raw.offset, nbytes, words"),
    ("gguf-elements-63", "2^63 elements pass", "if dim > 1 and I64_MAX // dim < n:", "if dim > 1 and U64_MAX // dim < n:"),
    ("gguf-overlap", "an overlap by a byte is a hole", '    if offset < end:\n        return "tensor-overlap"', '    if offset < end - 32:\n        return "tensor-overlap"'),
    ("gguf-hole", "a hole goes unnoticed", 'if offset > padded_end:\n        return "tensor-hole"', 'if offset > padded_end + 32:\n        return "tensor-hole"'),
    ("gguf-truncated", "one missing byte goes unnoticed", "short = [t for t in tensors if t.offset + (t.nbytes or 0) > size]\n    end =", "short = [t for t in tensors if t.offset + (t.nbytes or 0) > size + 1]\n    end ="),
    ("gguf-trailing", "one byte behind the last tensor goes unnoticed", '    if size > padded:\n        values.report("trailing-data"', '    if size > padded + 1:\n        values.report("trailing-data"'),
    ("gguf-room", "arrays longer than the file are looped over", "if n * size > cursor.remaining:", "if n > cursor.remaining:"),
    ("gguf-bool-two", "a truth value of 2 is fine", "if byte > 1:\n", "if byte > 2:\n"),
    ("gguf-keep-4096", "per-layer arrays are cut at 4,095", "whole = n <= KEEP_NUMBERS and", "whole = n < KEEP_NUMBERS and"),
    ("gguf-skip-scalars", "what follows a long array is read from the wrong place", "cursor.pos += (n - HEAD) * size", "cursor.pos += n * size"),
    ("gguf-depth", "arrays nest one deeper", "if len(frames) >= MAX_DEPTH or", "if len(frames) > MAX_DEPTH or"),
    ("gguf-long-key", "a key of 65,535 bytes is too long", 'if n > 0xFFFF:\n            self.report("long-key"', 'if n >= 0xFFFF:\n            self.report("long-key"'),
    ("gguf-tail-severity", "missing padding fails a file", '("unpadded-tail",        "GGUF-TAILPAD",    I,', '("unpadded-tail",        "GGUF-TAILPAD",    E,'),
    ("cursor-end", "the last byte of a file cannot be read", "if self.base + n > self.size:", "if self.base + n >= self.size:"),
)

SAFETENSORS = _rows(
    "test_boundaries.py formats/test_safetensors.py test_fixtures.py",
    ("st-base", "data start at the header's length", "base = 8 + len(header)\n", "base = len(header)\n"),
    ("st-header-cut", "a header that ends behind the file passes", "elif 8 + length > source.size:", "elif length > source.size:"),
    ("st-limit", "a header of the greatest legal length is refused", "    if length > MAX_HEADER:", "    if length >= MAX_HEADER:"),
    ("st-limit-value", "the format's limit is ten times too high", "MAX_HEADER: Final = 100_000_000", "MAX_HEADER: Final = 1_000_000_000"),
    ("st-empty", "a header of one byte is read", "elif length < 2:", "elif length < 1:"),
    ("st-bool-offset", "true and false count as the offsets 1 and 0", "return all(type(n) is int for entry in islice(root.values(), 2)", "return all(isinstance(n, int) for entry in islice(root.values(), 2)"),
    ("st-bool-dim", "true counts as a dimension of 1", "if type(dim) is not int or dim < 1:", "if not isinstance(dim, int) or dim < 1:"),
    ("st-bool-u64", "the careful way takes true for 1", "return type(value) is int and 0 <= value <= _U64", "return isinstance(value, int) and 0 <= value <= _U64"),
    ("st-deceptive", "a shape found by value may hold true", "if shape and 1 not in shape:", "if shape:"),
    ("st-extent", "the quick way takes a tensor that ends early", "if begin != end or stop != end + kind[2]:", "if begin != end or stop > end + kind[2]:"),
    ("st-quotes", "repeated keys pass the quick way", 'or not _no_key_repeats(text, root, metadata) or "" in root:', 'or "" in root:'),
    ("st-partial-byte", "half a byte is dropped", 'if n % 8:\n        defects.add("partial-byte"', 'if n % 4:\n        defects.add("partial-byte"'),
    ("st-size", "sizes are not held against the offsets", "and n // 8 != row.end - row.begin:", "and n // 8 > row.end - row.begin:"),
    ("st-hole", "holes pass", "        if row.begin > end:\n", "        if row.begin > end + 8:\n"),
    ("st-overlap", "overlaps pass", "        elif row.begin < end:\n", "        elif row.begin < end - 8:\n"),
    ("st-truncated", "one missing byte passes", "    if size < expected:\n", "    if size < expected - 1:\n"),
    ("st-trailing", "bytes behind the data pass", "elif size > expected and not any(", "elif size > expected + 8 and not any("),
    ("st-duplicate", "a tensor described twice is not told", 'defects.add("duplicate-tensor",', 'row is None and defects.add("duplicate-tensor",'),
    ("st-overflow", "sizes beyond 64 bits pass", '        if n > _U64:\n            defects.add("size-overflow"', '        if n > _U64 * 256:\n            defects.add("size-overflow"'),
)

CHECKPOINT = _rows(
    "test_boundaries.py test_checkpoint.py",
    ("split-part-zero", "part 0 of a split is a part", "0 < int(part) <= int(count)", "0 <= int(part) <= int(count)"),
    ("split-beyond", "part 4 of 3 is a part", "0 < int(part) <= int(count)", "0 < int(part)"),
    ("missing-last", "the last missing part is not named", "for i in range(1, count + 1) if i not in parts]", "for i in range(1, count) if i not in parts]"),
    ("index-escapes", "an index may name files outside the folder", 'if ".." in name.replace("\\\\", "/").split("/"):', 'if name.startswith(".."):'),
    ("index-absolute", "an index may name a drive", 'name.startswith(("/", "\\\\")) or name[1:2] == ":"', 'name.startswith(("/", "\\\\")) or name[:1] == ":"'),
    ("whole-wins", "an index that does not name model.safetensors wins over it", "shards and (whole is None or whole.name in shards):", "shards:"),
    ("stale-set-aside", "files that the index does not name are loaded", "stale = [e for e in weights if e.name not in set(shards)]", "stale = [e for e in weights if e.name in set(shards)]"),
    ("tag-boundary", "Q4_K picks Q4_K_M", 're.escape(tag) + "[.-]"', 're.escape(tag) + "[.-_]"'),
    ("label-last", "the first label in a name counts", "return found[-1].upper() if found", "return found[0].upper() if found"),
    ("first-match", "the last model that matches a tag is taken", "    return found[0]\n\n\ndef open_gguf_folder", "    return found[-1]\n\n\ndef open_gguf_folder"),
    ("parts-order", "parts are joined in the order of the disk", "return [self.parts[i] for i in sorted(self.parts)]", "return [self.parts[i] for i in sorted(self.parts, reverse=True)]"),
)

LAYERS = _rows(
    "test_boundaries.py architectures/test_gguf.py architectures/test_hf.py facts/test_gguf.py facts/test_hf.py",
    ("swa-full-at", "the first of a period is the full layer", "full_at = 0 if self.dense_first else period - 1", "full_at = 0"),
    ("swa-only-64", "exaone4 slides at any depth", "rule is None or (rule.only_n_layers and rule.only_n_layers != numbers.n_main)", "rule is None or (rule.only_n_layers and rule.only_n_layers > numbers.n_main)"),
    ("swa-zero", "a window of 0 slides", "return _engines_own(keys, self.tokens, ref) if _stated(keys) else None", "return _engines_own(keys, self.tokens, ref) if _stated(keys) is not None else None"),
    ("hybrid-interval", "the wrong layer of each four has attention", "i < numbers.n_main and (i + 1) % n != 0", "i < numbers.n_main and i % n != 0"),
    ("shared-from", "one layer too many shares its cache", 'return max(0, numbers.n_all - (keys.integer("attention.shared_kv_layers", "kv_from_start") or 0))', 'return max(0, numbers.n_all - 1 - (keys.integer("attention.shared_kv_layers", "kv_from_start") or 0))'),
    ("head-share", "heads are an equal share of the K/V heads", "d_model // heads[0]\n", "d_model // max(heads)\n"),
    ("kv-default-heads", "without head_count_kv nothing is kept", "(kv_heads or heads) * loops", "(kv_heads or (0,) * n_all) * loops"),
    ("ssm-groups", "B and C are kept once a group", "inner + 2 * groups * state, kernel", "inner + groups * state, kernel"),
    ("rwkv-shift", "one token shift too few", "(2 if shifts is None else shifts) + 1", "(2 if shifts is None else shifts)"),
    ("kda-kernel", "kda keeps the columns of one projection", 'StateCache("kda", 3 * heads * head, keys', 'StateCache("kda", heads * head, keys'),
    ("glm-indexer", "the wrong layers of GLM 5.2 have an indexer", "i < 2 or (i < 78 and i % 4 == 2)", "i < 2 or (i < 78 and i % 4 == 3)"),
    ("dsv4-rows", "compressors of ratio 4 keep half their rows", 'CompressedCache("csa", 4, width, state_width=2 * head, state_rows=8)', 'CompressedCache("csa", 4, width, state_width=2 * head, state_rows=4)'),
    ("nextn-over", "more prediction layers than layers", "if n_nextn > n:", "if n_nextn > n + 1:"),
    ("gguf-active", "active parameters ignore how many experts are used", "if not routed or not n_experts or used is None:\n        return total, total\n    return total, total - routed + routed * min(used, n_experts) // n_experts", "if not routed or not n_experts or used is None:\n        return total, total\n    return total, total - routed + routed // n_experts"),
    ("gguf-tied", "a model with an output matrix is tied", 'if "output.weight" in by_name:\n        keys.origin["tied_embeddings"] = "output.weight"\n        return False', 'if "output.weight" in by_name:\n        keys.origin["tied_embeddings"] = "output.weight"\n        return True'),
    ("hf-moe-first", "the last dense layer routes", "tuple(i >= first and i % step == 0 for i in range(n))", "tuple(i >= first - 1 and i % step == 0 for i in range(n))"),
    ("hf-moe-last", "the last layer of ernie does not route", "else n - 1\n    return tuple((i + 1) % step == 0 and start <= i <= last", "else n - 1\n    return tuple((i + 1) % step == 0 and start <= i < last"),
    ("hf-moe-qwen", "the sparse step counts from 0", "i not in dense and (i + 1) % step == 0", "i not in dense and i % step == 0"),
    ("hf-moe-llama4", "interleaved experts start one layer early", "frozenset(range(step - 1, n, step)", "frozenset(range(0, n, step)"),
    ("hf-moe-jamba", "jamba routes at the wrong offset", "tuple(i % period == offset for i in range(n))", "tuple((i + 1) % period == offset for i in range(n))"),
    ("hf-null", "an explicit null takes the class default", "if mapping is self.defaults and present:\n                break", "if mapping is self.defaults and not present:\n                break"),
    ("hf-head-dim", "head_dim is ignored", '        own = self.count("head_dim")\n        if own:', '        own = self.count("head_dim")\n        if own == 0:'),
    ("hf-kv-alias", "n_head_kv comes last", '("n_head_kv", "num_kv_heads", "num_key_value_heads",', '("num_kv_heads", "num_key_value_heads", "n_head_kv",'),
    ("hf-indexer-offset", "GLM shares its indexers one layer off", "max(i - offset + 1, 0) % freq == 0", "max(i - offset, 0) % freq == 0"),
    ("hf-gemma4-global", "gemma4's full layers have heads of the ordinary size", 'dim = k.count("global_head_dim", 512)', 'dim = k.count("global_head_dim", 256)'),
    ("hf-rglru", "recurrent_gemma keeps a column more", '(k.count("conv_kernel", 4) or 1) - 1, width', '(k.count("conv_kernel", 4) or 1), width'),
    ("hf-mamba2-groups", "B and C are kept once a group (config)", "flat + 2 * groups * d_state if", "flat + groups * d_state if"),
    ("hf-gdn", "keys are counted once", "times(n_k, d_k, 2), times(n_v, d_v)", "times(n_k, d_k), times(n_v, d_v)"),
    ("hf-falcon", "falcon's multi_query is off by default", 'kv = k.n_kv_heads if k.flag("new_decoder_architecture") else 1 if k.flag("multi_query", default=True) else heads\n    return kv_cache', 'kv = k.n_kv_heads if k.flag("new_decoder_architecture") else 1 if k.flag("multi_query") else heads\n    return kv_cache'),
)

CACHES = _rows(
    "test_boundaries.py memory/test_textbook.py memory/test_llamacpp.py",
    ("cache-window", "a window of W keeps W - 1 tokens", "return n_tokens if window is None else min(n_tokens, window)", "return n_tokens if window is None else min(n_tokens, window - 1)"),
    ("cache-state-columns", "all K columns of a convolution count", "return 4 * (max(cache.conv_kernel - 1, 0) * cache.conv_channels", "return 4 * (cache.conv_kernel * cache.conv_channels"),
    ("cache-row", "the last block of a row is cut", "return -(-width // dtype.block_elems) * dtype.block_bytes", "return width // dtype.block_elems * dtype.block_bytes"),
    ("cache-latent", "a latent has a V of its own", "    if isinstance(cache, LatentCache):\n        return row_nbytes(cache.width, dtype_k)\n", "    if isinstance(cache, LatentCache):\n        return row_nbytes(cache.width, dtype_k) * 2\n"),
    ("cache-unknown", "an unknown kind counts as 0", "    if isinstance(cache, UnknownCache):\n        return None\n    grown = tokens_kept", "    if isinstance(cache, UnknownCache):\n        return 0\n    grown = tokens_kept"),
    ("estimate-fits", "a full device fits", "        if False in verdicts:\n            return False", "        if False in verdicts and True not in verdicts:\n            return False"),
    ("estimate-unknown", "with a part unknown it fits all the same", "return True if verdicts and not self.unknown else None", "return True if verdicts else None"),
    ("estimate-grade", "a total has the best grade of its lines", "return GRADES[max(map(GRADES.index, grades), default=0)]", "return GRADES[min(map(GRADES.index, grades), default=0)]"),
)

LLAMACPP = _rows(
    "test_boundaries.py memory/test_llamacpp.py memory/test_llamacpp_graph.py memory/test_beside.py",
    ("lc-ctx-pad", "contexts are padded to 512", "CONTEXT_PAD: Final = 256", "CONTEXT_PAD: Final = 512"),
    ("lc-cells-pad", "cells are padded to 32", "CELLS_PAD: Final = 256", "CELLS_PAD: Final = 32"),
    ("lc-swa-cells", "a window has no room for the micro-batch", "window * n_windows + n_ubatch", "window * n_windows"),
    ("lc-swa-unified", "a unified window is one sequence's", "n_windows = sizes.n_seqs if sizes.kv_unified else 1", "n_windows = 1"),
    ("lc-swa-min", "windows are larger than the context", "pad(min(n_ctx_seq, window * n_windows", "pad(max(n_ctx_seq, window * n_windows"),
    ("lc-v-transposed", "without flash attention V keeps its own width", "cache.width_v if sizes.flash_attn else padded_v", "cache.width_v"),
    ("lc-state-f16", "states are half precision", "F32_BYTES: Final = 4\n", "F32_BYTES: Final = 2\n"),
    ("lc-state-kernel", "all columns of a convolution are kept", "columns = cache.conv_channels * max(cache.conv_kernel - 1, 0)\n    parts", "columns = cache.conv_channels * cache.conv_kernel\n    parts"),
    ("lc-dsv4-unified", "deepseek4 shares its caches", "sizes = sizes.replace(n_streams=sizes.n_seqs, kv_unified=False)", "sizes = sizes.replace(kv_unified=False)"),
    ("lc-batch-before-pad", "the batch is capped by the padded context", "n_batch = min(asked, n_batch) if facts.causal", "n_batch = min(pad(asked, CONTEXT_PAD), n_batch) if facts.causal"),
    ("lc-ubatch", "the default micro-batch is 1,024", "DEFAULT_UBATCH: Final = 512", "DEFAULT_UBATCH: Final = 1024"),
    ("lc-server-seqs", "the server has one slot", "SERVER_SEQS: Final = 4", "SERVER_SEQS: Final = 1"),
    ("lc-max-seqs", "256 sequences are refused", "if not 1 <= n_seqs <= MAX_SEQS:", "if not 1 <= n_seqs < MAX_SEQS:"),
    ("lc-ctx-seq", "each sequence gets the whole context", "n_ctx_seq = n_ctx if unified else pad(n_ctx // n_seqs, CONTEXT_PAD)", "n_ctx_seq = n_ctx"),
    ("lc-quant-v", "a quantised V cache needs no flash attention", "if v.is_block_quantized and not sizes.flash_attn:", "if v.is_block_quantized and sizes.flash_attn is None:"),
    ("lc-head-block", "heads that blocks do not divide are taken", "width % dtype.block_elems:\n", "width < dtype.block_elems:\n"),
    ("lc-outputs-last", "a server keeps all rows of logits", "return min(n_batch, n_rows)", "return n_batch"),
    ("lc-output-f16", "logits are half precision", 'Line("output", 4 * sizes.n_seqs * width', 'Line("output", 2 * sizes.n_seqs * width'),
    ("lc-weight-pad", "tensors are not padded in memory", "yield Weight(tensor.name, layer, held_nbytes(tensor, backend))", "yield Weight(tensor.name, layer, tensor.nbytes or 0)"),
    ("lc-nextn-weights", "prediction layers are loaded", "layer >= n_main and not _part(tensor.name, kept)", "layer > n_main and not _part(tensor.name, kept)"),
    ("lc-repack-rows", "matrices of odd rows are rearranged", "rows > 0 and rows % multiple == 0", "rows > 0"),
    ("lc-norm-output", "lfm2's embedding norm is an input", 'not (norm_is_output and stem == "token_embd_norm")', "not norm_is_output"),
    ("lc-alloc-best", "the first free block is taken, not the smallest", "if size <= sizes[i] <= best_size:", "if size <= sizes[i] and best == last:"),
    ("lc-alloc-later", "of equal blocks the earlier is taken", "if size <= sizes[i] <= best_size:", "if size <= sizes[i] < best_size:"),
    ("lc-alloc-align", "tensors are not aligned in the buffer", "return -(-size // self.alignment) * self.alignment", "return size"),
    ("lc-alloc-inplace", "a source with two children is taken over", "and parent.n_children == 1\n", "and parent.n_children >= 1\n"),
    ("lc-alloc-views", "bytes with a view left are freed", "if src.n_children or src.n_views:\n        return\n    held", "if src.n_children:\n        return\n    held"),
    ("lc-alloc-output", "outputs are freed", "if held.owned and not held.is_output:", "if held.owned:"),
    ("lc-alloc-join", "freed neighbours behind are not joined", "if i + 1 < len(offsets) and offsets[i + 1] == offset + sizes[i]:", "if i + 1 < len(offsets) and offsets[i + 1] < offset:"),
    ("lc-sched-copies", "a pipeline holds its inputs twice", "MAX_COPIES: Final = 4", "MAX_COPIES: Final = 2"),
)

GRAPHS = _rows(
    "memory/test_graph_settings.py",
    ("gr-loops", "runs of a stack start on the other's states", "low = self.stack(self.add(high, low), at)", "low = self.stack(self.add(low, high), at)"),
    ("gr-bank", "only the first layer's states are a checkpoint", "banked = self.every > 0 and il % self.every == 0", "banked = self.every > 0 and il == 0"),
    ("gr-pools", "blocks of one sequence are pooled", "self.new = max(run.n_ctx_seq // size * run.n_seqs, 1)", "self.new = max(run.n_ctx_seq // size, 1)"),
    ("gr-mask", "masks of chosen blocks are single precision", "self.fill(self.leaf(usual.elem, w))", "self.fill(self.leaf(F32, w))"),
)

ADVICE = _rows(
    "memory/test_unified.py cli/test_fit.py memory/test_cuda_options.py",
    ("un-pool", "what lies on the host of one pool is counted nowhere", "device = host if line.device == HOST else line.device", "device = line.device"),
    ("un-integrated", "an integrated GPU is used beside others", "if not (own and discrete))", "if not own or True)"),
    ("fi-alone", "a model that one card holds is spread", "if self.ask.tensor_split is not None or not are_unlike(gpus):", "if True:"),
    ("fi-grows", "a coarser cache is offered though the context is fixed", "grows=self.ask.n_ctx is None", "grows=True"),
    ("fi-cpu-margin", "nothing is left free on a CPU's host", "return self.ask.host - (0 if self.ask.gpus else self.ask.margin)", "return self.ask.host"),
)

DRAFTS = _rows(
    "memory/test_llamacpp_more.py",
    ("ld-unmixed", "drafts' batches mix tokens and embeddings", 'UNMIXED: Final = frozenset(("cogvlm", ', 'UNMIXED: Final = frozenset(("granite", '),
    ("ld-spread", "a short vocabulary's logits stay short", "        if d2t is None:\n            return logits\n", "        if d2t is not None:\n            return logits\n"),
    ("ld-chain", "blocks are drafted without a chain", '        if length > m.positive("block_size"):', "        if length > 0:"),
    ("ld-sampling-pad", "logits are sampled where they are", "padded = graph.pad(logits, 0, 1)", "padded = logits"),
    ("ld-sampled", "drafts in use pick no tokens", "if not made or (blocks and", "if made or (blocks and"),
    ("ld-assistant-cache", "a gemma4-assistant keeps a cache of its own", "shared_from=First(0), draft=Draft()", "draft=Draft()"),
    ("ld-looked-up", "a table of tokens lies on a device that cannot look up in it", '"ffn_gate_tid2eid.weight", "d2t", ', '"ffn_gate_tid2eid.weight", '),
    ("ld-whole", "a file of prediction layers alone is not loaded", "facts.n_layers if facts.n_layers and facts.n_layers_nextn", "facts.n_layers if facts.n_layers is not None and facts.n_layers_nextn"),
)

SPARSE = _rows(
    "memory/test_llamacpp_sparse.py",
    ("lc-msa-pad", "positions are padded to whole blocks of any size", "POSITIONS_PAD + self.block - 1 & ~(self.block - 1)", "-(-POSITIONS_PAD // self.block) * self.block"),
    ("lc-dsv4-blocks", "a batch completes no block that it did not begin", "blocks, rows, back = r.n_tokens // ratio + r.n_seqs,", "blocks, rows, back = max(r.n_tokens // ratio, 1),"),
    ("lc-hc-fused", "fused operations stay on wherever they would run", "if any(name == op and node.buf != probe.layer_buf[il]", "if all(name == op and node.buf != probe.layer_buf[il]"),
    ("lc-clamps-alike", "experts that are clamped are run as one with a shared one that is not", "if routed.name != shared.name or not (_gated", "if not (_gated"),
    ("lc-looked-up", "tables that tokens look experts up in lie on the host", '"compressor_ape.weight", "ffn_gate_tid2eid.weight", "d2t"', '"compressor_ape.weight", "d2t"'),
    ("lc-msa-deep", "layers that copy inputs are left out on devices", 'all held from the start."""\n        return None if self.r.layer_buf else super().kind(il)', 'all held from the start."""\n        return super().kind(il)'),
    ("lc-pools-few", "keys are copied out for 17 tokens too", "FEW: Final = 16  # tokens", "FEW: Final = 17  # tokens"),
)

PLACEMENT = _rows(
    "test_boundaries.py memory/test_placement.py memory/test_gpus.py",
    ("pl-float32", "split points are compared in double precision", 'struct.unpack("<f", struct.pack("<f", value))[0]', 'struct.unpack("<d", struct.pack("<d", value))[0]'),
    ("pl-position", "a layer on the split point goes to the first device", "if position < share), names[-1])", "if position <= share), names[-1])"),
    ("pl-output-counts", "the output layer is not counted", "start = max(n_layers + 1 - n_gpu, 0)", "start = max(n_layers - n_gpu, 0)"),
    ("pl-sum-float32", "shares are added up in double precision", "total = _float32(total + _float32(part))", "total = total + part"),
    ("pl-reserve-split", "devices share by capacity, reserve included", "return float(gpu.capacity - (0 if gpu.sized else gpu.reserve + gpu.context))", "return float(gpu.capacity - (0 if gpu.sized else gpu.context))"),
    ("pl-full-fits", "what fills a device to the byte does not fit", "fits = used <= gpu.capacity - gpu.reserve", "fits = used < gpu.capacity - gpu.reserve"),
    ("pl-reserve", "the reserve may be used", "fits = used <= gpu.capacity - gpu.reserve", "fits = used <= gpu.capacity"),
    ("pl-cpu-moe", "experts of one layer fewer move", "for i in range(min(placement.n_cpu_moe, n_layers))]", "for i in range(min(placement.n_cpu_moe - 1, n_layers))]"),
    ("pl-kv-host", "--no-kv-offload is ignored", "return self.block_device(layer) if self.kv_offload else HOST", "return self.block_device(layer)"),
    ("pl-negative-split", "a negative share is taken", "if any(p < 0 or p != p or p ==", "if any(p != p or p =="),
    ("gpu-apple", "a Mac of 24 GiB may wire three quarters", "if gib < 36 else", "if gib < 24 else"),
    ("gpu-cuda-hides", "what CUDA hides is usable", "return hidden(self.capacity) if self.cuda_mib is None else (self.total_mib - self.cuda_mib) * MIB", "return 0"),
    ("gpu-count-most", "1,024 GPUs are refused", "if not 1 <= count <= MAX_GPUS:", "if not 1 <= count < MAX_GPUS:"),
)

RANGES = (
    *_rows(
        "memory/test_ranges.py",
        ("rg-total", "the lower end of a sum is its upper end", "return self.total_nbytes - ranged(self.lines)", "return self.total_nbytes"),
        ("rg-context", "CUDA's context is known", "return least * MIB, most * MIB", "return most * MIB, most * MIB"),
        ("rg-safe", "the lower end of a profiling run is counted", 'return Line("compute", span[1], ', 'return Line("compute", span[0], '),
        ("rg-sorts", "no profiling run sorts its logits", "max(int(peak * (seen if towers else text)), int(sorts * (_SEEN if experts else 1)))", "int(peak * (seen if towers else text))"),
        ("rg-captured", "decode steps have no graphs of their own", "found: int = sum(n <= limit for n in sizes) + sum(n <= min(seqs, limit) for n in sizes)", "found: int = sum(n <= limit for n in sizes)"),
        ("rg-device", "a device's lower end is its upper end", "return used - below if below else None", "return used if below else None"),
    ),
    *_rows(
        "memory/test_transformers.py",
        ("rg-scan", "a scan in plain torch writes nothing down", "int((sizes[top] + scan) * most)", "int(sizes[top] * most)"),
    ),
    *_rows(
        "report/test_memory_text.py test_units.py",
        ("rg-shown", "only the upper end of a range is shown", "if low is None else format_between(low, nbytes)", "if low is None else format_between(nbytes, nbytes)"),
    ),
)

VLLM = _rows(
    "test_boundaries.py memory/test_vllm.py memory/test_vllm_parallel.py memory/test_vllm_logs.py memory/test_vllm_planner.py",
    ("vl-15-tie", "groups of three beside two are not padded", "size = large if large < small * 1.5 else small", "size = large if large <= small * 1.5 else small"),
    ("vl-block", "blocks of 32 tokens", "DEFAULT_BLOCK: Final = 16", "DEFAULT_BLOCK: Final = 32"),
    ("vl-mla-block", "FlashMLA pages of 16", "MLA_BLOCK: Final = 64", "MLA_BLOCK: Final = 16"),
    ("vl-mla-layout", "sparse MLA tokens lose their padding", '"fp8_ds_mla": 656', '"fp8_ds_mla": 640'),
    ("vl-sliding-extra", "a window may not begin inside a block", "s.max_model_len), p.block) + 1\n", "s.max_model_len), p.block)\n"),
    ("vl-sliding-window", "a window of W needs W earlier tokens", "_cdiv(min((p.window or 1) - 1 + s.in_flight", "_cdiv(min((p.window or 1) + s.in_flight"),
    ("vl-state-two", "prefix caching keeps one state", "(2 if s.prefix_caching else 1)", "1"),
    ("vl-heads-replicated", "fewer heads than ranks make none", "return max(1, n_heads // tp)", "return n_heads // tp"),
    ("vl-scales", "a token and head has one scale", "PER_TOKEN_HEAD_SCALES: Final = 8", "PER_TOKEN_HEAD_SCALES: Final = 4"),
    ("vl-index-scale", "the indexer's scales are left out", "cache.head_dim + cache.head_dim // 128 * 4", "cache.head_dim"),
    ("vl-kda-float", "kda states are the model's dtype", '_FLOAT_STATES: Final = frozenset({"kda"})', '_FLOAT_STATES: Final = frozenset({"gdn"})'),
    ("vl-budget", "what fills the budget to the byte does not fit", "used <= int(gpu.capacity * utilization)", "used < int(gpu.capacity * utilization)"),
    ("vl-utilization", "vLLM takes 90 %", "UTILIZATION: Final = 0.92", "UTILIZATION: Final = 0.90"),
    ("vl-utilization-one", "a utilization of 1 is refused", 'or not 0 < value <= 1:\n        raise WorkloadError(f"gpu_memory_utilization', 'or not 0 < value < 1:\n        raise WorkloadError(f"gpu_memory_utilization'),
    ("vl-divides", "heads that ranks do not divide are taken", "if facts.n_heads and facts.n_heads % tp:", "if facts.n_heads and facts.n_heads < tp:"),
    ("vl-default-context", "a model without a context gets 4,096", "DEFAULT_CONTEXT: Final = 2048  # config/model.py", "DEFAULT_CONTEXT: Final = 4096  # config/model.py"),
    ("vl-async", "one step is in flight", 'steps = split.pipeline + bool(extra.get("async_scheduling", not pools(facts)))', "steps = split.pipeline"),
    ("vl-a100", "an A100 batches as an H100 does", "not (floor == 70 * GIB and small)", "True"),
    ("vl-search", "the longest context is one too short", "low, high = (middle, high) if result.fits else (low, middle - 1)", "low, high = (middle, high) if result.fits else (low, middle - 2)"),
    ("vl-eager", "CUDA graphs are counted with --enforce-eager", 'return [runtime] if options_of(run.workload).get("enforce_eager") else [runtime, graphs]', "return [runtime, graphs]"),
)

TRANSFORMERS = _rows(
    "test_boundaries.py memory/test_transformers.py",
    ("tf-sdpa-window", "a prompt as long as the window needs no mask", "sum(w is not None and s.n_tokens >= w for w in s.windows)", "sum(w is not None and s.n_tokens > w for w in s.windows)"),
    ("tf-window-kept", "a dynamic window keeps W tokens", "kept = min(n, max(window - 1, 1))", "kept = min(n, max(window, 1))"),
    ("tf-static", "a static window keeps the whole context", "kept = n if window is None else min(window, n)", "kept = n"),
    ("tf-storage", "windows free the prefill at once", "return kept, max(kept, r.n_prefill)", "return kept, kept"),
    ("tf-conv", "states keep K - 1 columns", "cache.conv_channels * cache.conv_kernel * sizes.get(cache.conv_dtype", "cache.conv_channels * (cache.conv_kernel - 1) * sizes.get(cache.conv_dtype"),
    ("tf-eager-mask", "eager masks are booleans", "return cells * s.n_seqs * s.elem * max(len(s.windows)", "return cells * s.n_seqs * max(len(s.windows)"),
    ("tf-partial", "glm rotates all of a head", "share = part if isinstance(part, (int, float)) else own", "share = part if isinstance(part, (int, float)) else 1.0"),
    ("tf-fits", "what fills a device to the byte does not fit", "fits, low = used <= gpu.capacity, lowest(used, mine)", "fits, low = used < gpu.capacity, lowest(used, mine)"),
    ("tf-peak", "devices are judged after the prefill", "used = sum(line.peak_nbytes or line.nbytes for line in mine)", "used = sum(line.nbytes for line in mine)"),
    ("tf-context", "a model without a context gets 4,096 (transformers)", "DEFAULT_CONTEXT: Final = 2048\n\n\n", "DEFAULT_CONTEXT: Final = 4096\n\n\n"),
    ("tf-lfm2", "LFM2's MLP is as wide as it says", "int(2 * width / 3))", "width)"),
)

TEXTBOOK = _rows(
    "test_boundaries.py memory/test_textbook.py cli/test_calc.py",
    ("tb-gqa", "grouped heads count all heads", 'head_key = "n_kv_heads" if form == "gqa" else "n_heads"', 'head_key = "n_heads"'),
    ("tb-ceil", "half a byte of weights is dropped", "return -(-n_params * (row.nominal if nominal else row.real) // 80000)", "return n_params * (row.nominal if nominal else row.real) // 80000"),
    ("tb-q4km", "Q4_K_M nominally takes four and a half bits", '"Q4_K_M",    40000', '"Q4_K_M",    45000'),
    ("tb-activations", "activations are counted once", "n_seqs * n_tokens * d_model * n_layers * 2", "n_seqs * n_tokens * d_model * n_layers * 1"),
    ("tb-overhead", "devices share one overhead", "share, rest = line.nbytes, 0", "share, rest = divmod(line.nbytes, n)"),
    ("tb-remainder", "the remainder of a split is dropped", "nbytes=share + (i < rest), device=name", "nbytes=share, device=name"),
    ("tb-window", "a window beyond the context widens it", "kept = min(kept, window)", "kept = window"),
)

FIT = _rows(
    "test_boundaries.py memory/test_fit.py memory/test_fit_choice.py memory/test_unified.py cli/test_fit.py",
    ("fit-default-context", "48k are aimed at", "DEFAULT_CONTEXT: Final = 32768", "DEFAULT_CONTEXT: Final = 49152"),
    ("fit-least-context", "contexts give way down to 8k", "LEAST_CONTEXT: Final = 4096", "LEAST_CONTEXT: Final = 8192"),
    ("fit-beaten", "choices that are worse in everything are shown", "all(getattr(self, name) >= getattr(other, name)", "all(getattr(self, name) > getattr(other, name)"),
    ("fit-beaten-host", "lengths that could grow keep more on the host", '("speed", "cache", "n_ctx") if self.speed > other.speed else self._fields', "self._fields"),
    ("fit-order", "cache comes before the quant", '    "quant": ("larger quant", lambda o: -o.space.candidate.nbytes),\n', ""),
    ("fit-kv8", "four bits of cache are as good as eight", "o.space.kv_bits(o.kv) < 8)", "o.space.kv_bits(o.kv) < 4)"),
    ("fit-larger", "the smaller quant comes first", "lambda o: -o.space.candidate.nbytes),", "lambda o: o.space.candidate.nbytes),"),
    ("fit-most", "one choice too many", "len(self._chosen) >= self.ask.most", "len(self._chosen) > self.ask.most"),
    ("fit-rounds", "a split is tried once", "_ROUNDS: Final = 4", "_ROUNDS: Final = 1"),
    ("fit-smallest-apple", "the smallest GPU may be a Mac", 'if row.vendor != "Apple" and not', "if not"),
    ("fit-smallest-machine", "the smallest GPU may be a board", '_MACHINES: Final = ("Jetson", "GB10", "Ryzen")', '_MACHINES: Final = ("GB10", "Ryzen")'),
    ("fit-smallest-next", "the next larger GPU is named", "return rows[low] if low < len(rows) else None", "return rows[low + 1] if low + 1 < len(rows) else None"),
    ("fit-largest-capped", "what reaches the trained length is not capped", "return largest, largest >= cap", "return largest, largest > cap"),
    ("fit-headroom", "a margin is ignored", "if self.keeps_reserve else 0) - self.ask.margin for g in self.ask.gpus]", "if self.keeps_reserve else 0) for g in self.ask.gpus]"),
    ("fit-last-equal", "what fits to the byte does not", "    if over_high <= 0:\n        return high", "    if over_high < 0:\n        return high"),
    ("fit-floor-equal", "what weighs as much as the floor is coarser", "candidate.nbytes >= least)", "candidate.nbytes > least)"),
    ("fit-makeable", "quants that are no smaller are offered", "if made.nbytes < base.nbytes:", "if made.nbytes <= base.nbytes * 2:"),
    ("fit-least", "the worst attempt is shown when nothing fits", "return min(found, key=lambda lack: sum(lack.missing.values()))", "return max(found, key=lambda lack: sum(lack.missing.values()))"),
    ("fit-counts-output", "layers on the host are one too few in words", 'yield f"{n + 1 - ngl} of {n + 1} layers on the host"', 'yield f"{n - ngl} of {n + 1} layers on the host"'),
)

QUANT = _rows(
    "test_boundaries.py quantization/test_mix.py quantization/test_labels.py quantization/test_layouts.py",
    ("mix-more-bits", "the last eighth gets no more bits", "i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2", "i < n // 8 or i > 7 * n // 8 or (i - n // 8) % 3 == 2"),
    ("mix-third", "the wrong third gets more bits", "(i - n // 8) % 3 == 2", "(i - n // 8) % 3 == 1"),
    ("mix-gqa", "groups of three count as grouped", "return m.gqa >= 4", "return m.gqa >= 3"),
    ("mix-experts8", "four experts count as eight", "return m.n_experts == 8", "return m.n_experts >= 4"),
    ("mix-first-two", "three layers of Q3_K_M get Q5_K", "return m.i < 2\n", "return m.i < 3\n"),
    ("mix-first-four", "five layers of Q4_K_S get Q5_K", "return m.i < 4\n", "return m.i < 5\n"),
    ("mix-sixteenth", "an eighth instead of a sixteenth", "return m.i < m.n // 16", "return m.i < m.n // 8"),
    ("mix-output", "outputs get Q5_K", 'return default if default == "Q8_0" else "Q6_K"', 'return default if default == "Q8_0" else "Q5_K"'),
    ("mix-fallback-q4k", "Q4_K falls back to Q4_0", '"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",\n})', '"Q4_K": "Q4_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",\n})'),
    ("mix-f16-last", "what no block fits stays quantised", 'given = "F16"', "given = dtype"),
    ("mix-70b", "70B models are as others", 'return "Q5_K" if model.is_70b and dtype in', 'return "Q5_K" if not model.is_70b and dtype in'),
    ("mix-order", "blk.10 comes before blk.2", "key=lambda t: (_block(t.name), t.name))", "key=lambda t: t.name)"),
    ("mix-tied", "a tied embedding is no output", "self.tied = rules.OUTPUT not in kinds", "self.tied = False"),
    ("mix-1d", "vectors are quantised", "if all(dim == 1 for dim in shape[:-1]):", "if not shape:"),
    ("label-permille", "shares are in hundredths", "n * 1000 // total if total else 0", "n * 100 // total if total else 0"),
)

AUDIT = (
    *_rows(
        "test_boundaries.py audit/test_cli_audit.py audit/test_sarif.py audit/test_gguf.py audit/test_safetensors.py",
        ("au-order", "the least bad comes first", "findings.sort(key=lambda f: -rank(f.severity))", "findings.sort(key=lambda f: rank(f.severity))"),
        ("au-verdict", "a warning fails", '= ("pass", "warn", "fail")  #', '= ("pass", "fail", "fail")  #'),
        ("au-most", "nineteen of one kind are listed", "MOST_OF_ONE_KIND: Final = 20", "MOST_OF_ONE_KIND: Final = 19"),
        ("au-ranks", "info is worse than a warning", 'SEVERITIES: Final = ("info", "warning", "error")', 'SEVERITIES: Final = ("warning", "info", "error")'),
        ("au-st-truncated", "a cut safetensors file is a warning", '"ST009", "st-truncated", severity="error"', '"ST009", "st-truncated", severity="warning"'),
        ("au-st-layout", "holes in a safetensors file are a warning", '"ST008", "st-layout", severity="error"', '"ST008", "st-layout", severity="warning"'),
        ("au-st-duplicate", "a tensor given twice is information", '"ST011", "st-duplicate", severity="warning"', '"ST011", "st-duplicate", severity="info"'),
        ("au-st-align", "an unaligned header is a warning", '"ST013", "st-alignment", severity="info"', '"ST013", "st-alignment", severity="warning"'),
        ("au-gg-truncated", "a cut GGUF is a warning", '"GG019", "gguf-truncated", severity="error"', '"GG019", "gguf-truncated", severity="warning"'),
        ("au-gg-offset", "overlaps in a GGUF are a warning", '"GG018", "gguf-offset", severity="error"', '"GG018", "gguf-offset", severity="warning"'),
        ("au-gg-trailing", "bytes behind a GGUF are information", '"GG020", "gguf-trailing-data", severity="warning"', '"GG020", "gguf-trailing-data", severity="info"'),
        ("au-gg-endian", "a big-endian GGUF is an error", '"GG002", "gguf-big-endian", severity="warning"', '"GG002", "gguf-big-endian", severity="error"'),
        ("au-ignore", "--ignore wants capitals", "r.code.lower() in skipped or r.name in skipped", "r.code in skipped or r.name in skipped"),
        ("au-fail-on", "--fail-on warning lets warnings pass", "return outcome.NO if worst >= rank(fail_on) else outcome.OK", "return outcome.NO if worst > rank(fail_on) else outcome.OK"),
        ("au-failed", "a target that cannot be read is no failure", "    if failed:\n        return outcome.FAILED\n    worst", "    if failed:\n        return outcome.NO\n    worst"),
        ("au-sarif", "warnings are notes in SARIF", '{"error": "error", "warning": "warning", "info": "note"}', '{"error": "error", "warning": "note", "info": "note"}'),
        ("au-hint-once", "each finding repeats its hint", "            hints.add(f.hint)\n", ""),
        ("au-plural", "one error is told as errors", "{'s' if n > 1 and s != 'info' else ''}\" for s, n", "{'s' if s != 'info' else ''}\" for s, n"),
    ),
    *_rows(
        "audit/test_rdata.py audit/test_hdf5_links.py audit/test_embedded.py audit/test_lz4.py",
        ("au-r-forced", "a promise without its value passes in a frame", "elif kind == _UNBOUND and role == _VALUE:", "elif kind == _UNBOUND and role == _CALLED:"),
        ("au-r-colons", "base::system is no call of system", "first, rest = _CALLED, role if role == _CALLED else _PLAIN", "first, rest = _CALLED, _PLAIN"),
        ("au-r-attributes", "attributes behind a list are not read", "        self.attributes(flags)\n        if kind == _TEXTS:", "        if kind == _TEXTS:"),
        ("au-h5-rows", "blocks of a heap double a row late", "return self.start << max(row - 1, 0)", "return self.start << max(row - 2, 0)"),
        ("au-h5-outside", "a link to another file is nothing", "elif kind == _OUTSIDE:", "elif kind == _OUTSIDE + 1:"),
        ("au-search-edge", "what lies across two pieces is passed over", "at += len(raw) - TRIED", "at += len(raw)"),
        ("au-search-chain", "an import hides the one before it", "{0,30}(?!", "{0,0}(?!"),
        ("au-lz4-window", "a match reaches one byte too far back", "start = len(out) - back\n", "start = len(out) - back - 1\n"),
    ),
    *_rows(
        "audit/test_pickle_tricks.py audit/test_files.py audit/test_companions.py",
        ("au-memo-forgotten", "arguments remembered long ago are none", "if own is FORGOTTEN:", "if own is None:"),
        ("au-holes-nearly", "a file that is nearly all a hole passes", "if total >= e.size // _SHARE:", "if e.size // _SHARE <= total < e.size - e.size // 64:"),
        ("au-yaml-prose", "prose about tags is a document", "all(_YAML_LINE.match(line) for line in lines)", "any(_YAML_LINE.match(line) for line in lines)"),
    ),
)

VALUES = _rows(
    "test_boundaries.py audit/test_values.py",
    ("va-nan-mask", "infinities count as NaN", "return n_nan, n - n_nan", "return n, 0"),
    ("va-bf16", "BF16 is looked at as F16", '"BF16": ("u2", 0x7F80, 0x007F)', '"BF16": ("u2", 0x7C00, 0x03FF)'),
    ("va-scale-place", "Q6_K's scale is looked for at the start", '"Q6_K": ((208, "F16"),)', '"Q6_K": ((0, "F16"),)'),
    ("va-vector-zero", "a bias of zeros is a finding", "return sum(n > 1 for n in shape) > 1", "return sum(n > 1 for n in shape) > 0"),
)

STORES_AND_FLEET = (
    *_rows(
        "stores/test_walk.py stores/test_targets.py",
        ("st-lacking", "a split set that lacks one part is whole", "if split is None or len(files) >= split[2]:", "if split is None or len(files) >= split[2] - 1:"),
        ("st-deep", "what lies too deep is passed over in silence", "if depth >= MAX_DEPTH and level.folders:", "if depth > MAX_DEPTH and level.folders:"),
        ("st-tag", "Q4_K takes Q4_K_M", 're.search(re.escape(tag) + "[.-]", name, re.IGNORECASE)', "re.search(re.escape(tag), name, re.IGNORECASE)"),
        ("st-digest", "a digest of any length leaves the store", "        if len(digits) == 64 and _HEX.issuperset(digits):\n            return digits", "        if digits:\n            return digits"),
        ("st-blob-size", "a blob that is too long is no finding", "    if layer.found != layer.nbytes:", "    if layer.found < layer.nbytes:"),
    ),
    *_rows(
        "fleet/test_items.py",
        ("st-link", "links to a folder of a longer name are followed", "startswith(root.rstrip(os.sep) + os.sep):\n                return File(", "startswith(root.rstrip(os.sep)):\n                return File("),
        ("st-stamp", "a file of another size is unchanged", 'f"{stamp}+{nbytes}" for stamp, nbytes in stamps', 'f"{stamp}" for stamp, _ in stamps'),
        ("fl-documents", "a new template leaves a model unchanged", 'if e.name.endswith((".json", ".jinja")) and', 'if e.name.endswith(".json") and'),
        ("fl-shut", "what must not be opened is opened", 'return bool(model.error) and not model.nbytes and model.role != "unfinished"', 'return bool(model.error) and not model.nbytes and model.role == "unfinished"'),
        ("fl-sha256", "each of several models has the hash of one", 'if row["found"] == row["target"] else None)', "if row else None)"),
    ),
    *_rows(
        "fleet/test_journal.py fleet/test_run.py",
        ("fl-asked", "a row that answers another question is taken over", 'row["asked"], row["stamp"]) == (\n                SCHEMA, __version__, asked, escape(item.stamp),', 'row["stamp"]) == (\n                SCHEMA, __version__, escape(item.stamp),'),
        ("fl-passing", "what did not answer is not asked again", 'PASSING_ERRORS: Final = ("source", "worker")', 'PASSING_ERRORS: Final = ("worker",)'),
        ("fl-tensors", "a table of tensors lacks what was read without", " or (tensors and blob is None):", ":"),
        ("fl-once", "a row that comes twice is the later one", "INSERT OR IGNORE INTO rows VALUES", "INSERT OR REPLACE INTO rows VALUES"),
        ("fl-suspect", "a model is lost with its neighbour", "        elif len(chunk) > 1:", "        elif len(chunk) > 2:"),
        ("fl-unreached", "models that end processes exit 1", 'row["error_kind"] in ("source", "worker")', 'row["error_kind"] in ("source",)'),
    ),
    *_rows(
        "fleet/test_smallest.py fleet/test_tables.py fleet/test_row.py",
        ("fl-smallest", "the device before the smallest that holds it is named", "(guess + 1, high) if lacking else (low, guess)", "(guess + 1, high) if lacking else (low, guess - 1)"),
        ("fl-formula", "a name that begins with @ runs in a spreadsheet", '("=", "+", "-", "@", "\'", ', '("=", "+", "-", "\'", '),
        ("fl-shapes", "models of other shapes are one in several quants", 'f"{t.name} {t.shape}" for t in', 'f"{t.name}" for t in'),
        ("fl-trained", "the cache at the trained context is left out", "return sorted(within | ({trained} if trained else set()))", "return sorted(within)"),
    ),
    *_rows(
        "sources/test_limit.py sources/test_index_pages.py sources/test_filesystems.py",
        ("so-hung", "what hangs holds up all that follows", "    _own.worker = None  # until", "    _own.worker = worker  # until"),
        ("so-below", "a page lists what does not lie below it", 'if path.startswith(start) and name and "/" not in name', 'if name and "/" not in name'),
        ("so-changed", "only an ETag tells that a file has changed", "if kind == kind_now and _plain_tag", 'if kind == kind_now == "etag" and _plain_tag'),
        ("so-once-more", "a file of two ranges is not looked at again", "if self._n_fetched > 1:", "if self._n_fetched > 2:"),
    ),
)

REST = (
    *_rows(
        "test_boundaries.py test_diff.py",
        ("di-rename-words", "one common word makes a rename", "ranked[0][0] > 1 and alone", "ranked[0][0] > 0 and alone"),
        ("di-rename-tie", "of two equal candidates one is taken", "ranked[0][0] > ranked[1][0])", "ranked[0][0] >= ranked[1][0])"),
        ("di-nan", "NaN differs from itself", "return bool(a == b) or (a != a and b != b)", "return bool(a == b)"),
        ("di-exit", "differences exit 0", "return outcome.OK if found.is_empty else outcome.NO", "return outcome.OK"),
    ),
    *_rows(
        "test_boundaries.py sources/test_http.py sources/test_ranges.py test_hub_checkpoint.py",
        ("ht-tries", "failures are tried three times", "TRIES: Final = 4", "TRIES: Final = 3"),
        ("ht-left", "one try too many", "if self._left <= 0 or", "if self._left < 0 or"),
        ("ht-redirects", "six redirects are followed", "MAX_REDIRECTS: Final = 5", "MAX_REDIRECTS: Final = 6"),
        ("ht-token", "the token leaves the Hub", "if self._token and origin(url) == origin(self.endpoint):", "if self._token:"),
        ("ht-double", "waits do not grow", "self._usual *= 2", "self._usual *= 1"),
        ("ht-total", "an upload of another size is read", "elif total != self._total:", "elif total < self._total:"),
        ("ht-range-start", "other bytes than were asked for are taken", "if found is None or found[0] != start:", "if found is None:"),
        ("ht-range-last", "a range ends a byte early", "return found[1] + 1\n", "return found[1]\n"),
        ("ht-etag", "a file that changes under the reader is read on", "etag is not None and etag != self._etag:", "etag is not None and not etag:"),
        ("ht-quarter", "a prefix grows by itself each time", "have + have // 4)", "have + have)"),
    ),
    *_rows(
        "test_boundaries.py sources/test_target.py",
        ("ta-dots", "a path may leave the repository", 'if path and (any(part in {"", ".", ".."} for part in parts)', 'if path and (any(part in {"", "."} for part in parts)'),
        ("ta-length", "names of 97 characters pass", "or len(repo) > 96\n", "or len(repo) > 97\n"),
        ("ta-refs", "refs/pr/7 is a folder", 'n = 3 if parts[0] == "refs" and len(parts) >= 3 else 1', "n = 1"),
    ),
    *_rows(
        "test_boundaries.py cli/test_escaping.py cli/test_memory.py cli/test_plain_path.py",
        ("re-surrogate", "bytes that are no UTF-8 are shown a byte off", 'return f"\\\\x{code - 0xDC00:02x}"\n', 'return f"\\\\x{code - 0xDC01:02x}"\n'),
        ("re-infinite", "infinities break JSON", "return value if -1.8e308 < value < 1.8e308 else", "return value if value == value else"),
        ("re-modelled", "modelled figures look exact", 'return ("≈ " if grade == "modelled" else "")', 'return ("≈ " if grade == "derived" else "")'),
        ("re-spare", "what a device lacks is spare", "self.capacity is None else self.capacity - self.reserve", "self.capacity is None else self.capacity"),
        ("re-overtakes", "the cache overtakes when it is as large", '> sums["weights"]:', '>= sums["weights"]:'),
        ("re-bar", "bars are longer than their room", "max(0, min(width, round(share * width)))", "max(0, round(share * width) + 1)"),
        ("re-wrap", "lines are a character too long", "if line and columns(line) + 1 + columns(word) > width:", "if line and columns(line) + columns(word) > width:"),
        ("re-shorten", "shortened text is a character too long", "_head(text, max(width - 1, 1))", "_head(text, max(width, 1))"),
        ("re-percent", "nothing of nothing is an error", '.1f}%" if whole else "–"', '.1f}%" if whole >= 0 else "–"'),
        ("cli-failed", "what cannot be answered exits 1", "OK, NO, FAILED = 0, 1, 2", "OK, NO, FAILED = 0, 1, 1"),
        ("cli-width", "a width of 10 is taken", "return max(int(columns), 40)", "return int(columns)"),
        ("record-eq", "records of two types are equal", "if type(self) is not type(other):\n                return NotImplemented", "if not hasattr(other, '_fields'):\n                return NotImplemented"),
    ),
    *_rows(
        "cli/test_pasted.py",
        ("cli-bench", "llama-bench's tests are one context", "largest = max((*prompts, *made, *both), default=0)", "largest = max(prompts, default=0) + max(made, default=0)"),
        ("cli-ollama", "OLLAMA_CONTEXT_LENGTH counts before the model's own", '(kept, "the model\'s num_ctx") if kept else (asked', '(kept, "the model\'s num_ctx") if kept and not asked else (asked'),
        ("cli-visible", "a card beyond those that are named is seen", "if max(places) >= len(cards):", "if max(places) > len(cards):"),
    ),
    *_rows(
        "memory/test_tagged.py cli/test_quants.py",
        ("lib-tag", "a quant that is not there is the whole checkpoint", "return read(without), without, error.quant", "return read(without), without, None"),
    ),
    *_rows(
        "cli/test_widths.py",
        ("re-folded", "a narrow terminal loses a figure", "zip(names[1:], row[1:], strict=True) if cell]", "zip(names[2:], row[2:], strict=True) if cell]"),
    ),
    *_rows(
        "memory/test_tables.py memory/test_sglang.py",
        ("tab-copies", "caches that are copied to a device count as one type", "apart = bool(plain.devices) and HOST in plain.blocks", "apart = False"),
        ("sg-running", "graphs are made for more requests than run", "graph_seqs=min(step.graph_seqs, most)", "graph_seqs=max(step.graph_seqs, most)"),
    ),
)
BUILDS = _rows(
    "memory/test_llamacpp_builds.py",
    ("build-until", "a rule still holds for the build that dropped it", "not 0 < self.until <= build", "not 0 < self.until < build"),
    ("build-windows", "every build reads a file's list of windows", "if flags is not None and self.arrays:", "if flags is not None:"),
    ("build-mixed", "every build has inputs for embeddings among tokens", '"mixes inputs": Span(11401)', '"mixes inputs": Span()'),
    ("build-newest", "builds to come follow the oldest rules", "min(max(build, MEASURED[0]), REPLAYED)", "min(build, MEASURED[0])"),
    ("build-measured", "a build that nobody measured is as sure as others", "sure = build in MEASURED and", "sure = build > 0 and"),
    ("build-command", "the command of a choice forgets the build", "if choice.candidate.source or self.build else []", "if choice.candidate.source else []"),
)
# fmt: on

AREAS: dict[str, tuple[Mutation, ...]] = {
    "bytes and units": BYTES,
    "GGUF reader": GGUF,
    "safetensors reader": SAFETENSORS,
    "joining files": CHECKPOINT,
    "layers": LAYERS,
    "caches and totals": CACHES,
    "llama.cpp": (*LLAMACPP, *GRAPHS),
    "llama.cpp's drafts": DRAFTS,
    "llama.cpp's sparse graphs": SPARSE,
    "llama.cpp's builds": BUILDS,
    "placement and GPUs": PLACEMENT,
    "shared memory and advice": ADVICE,
    "drafting": DRAFTING,
    "older builds on CUDA": OLDER_ON_CUDA,
    "vLLM": VLLM,
    "ranges": RANGES,
    "transformers": TRANSFORMERS,
    "textbook": TEXTBOOK,
    "fit": FIT,
    "quantisation mixes": QUANT,
    "audit": AUDIT,
    "values": VALUES,
    "stores and fleet": STORES_AND_FLEET,
    "diff, sources, reports, command line": REST,
}
