"""Where one more or one less changes the answer: expectations from the formats' and engines' own rules, by hand.

scripts/mutate.py shows that other tests do not notice these lines; each test here says a fact that they hold.
"""

from __future__ import annotations

import pytest

from inspector.audit.registry import rules

# What the loader itself does, not what the registry says: safetensors' reader and gguf.cpp refuse the first sort
# (tensor.rs `Metadata::validate`, `gguf_init_from_reader`), load the second with something wrong, and do not mind the
# third.
REFUSED = """
    st-header-length st-json st-nesting st-fields st-dtype st-size st-layout st-truncated st-metadata
    gguf-version gguf-count gguf-key gguf-value-type gguf-string-length gguf-array-length gguf-nesting gguf-alignment
    gguf-tensor-name gguf-dimensions gguf-byte-size gguf-tensor-type gguf-partial-block gguf-offset gguf-truncated
"""
LOADED_ALL_THE_SAME = """
    st-duplicate st-spec gguf-big-endian gguf-odd-key gguf-nested-array gguf-odd-alignment gguf-trailing-data
    gguf-not-utf8 gguf-bad-bool
"""
HARMLESS = "st-alignment gguf-unpadded-tail"


@pytest.mark.parametrize(
    ("names", "severity"), [(REFUSED, "error"), (LOADED_ALL_THE_SAME, "warning"), (HARMLESS, "info")]
)
def test_what_loaders_refuse_is_an_error_and_what_they_load_is_not(names, severity):
    by_name = {r.name: r.severity for r in rules().values()}
    assert {name: by_name[name] for name in names.split()} == dict.fromkeys(names.split(), severity)
