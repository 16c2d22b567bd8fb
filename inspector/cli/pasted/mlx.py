"""`mlx_lm.generate`'s, `mlx_lm.server`'s and `mlx_lm.chat`'s command lines in our words.

Names and kinds: mlx-lm 0.32.2 mlx_lm/generate.py, mlx_lm/server.py, mlx_lm/chat.py.
"""

from __future__ import annotations

from inspector.cli.pasted.records import Flag, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# fmt: off
TAKEN: Final = """
--model= -> target
--kv-bits= -> --kv-bits
--kv-group-size= -> --kv-group-size
--quantized-kv-start= -> --quantized-kv-start
--max-kv-size= -> --max-kv-size
--prefill-step-size= -> --prefill-step-size
--decode-concurrency= -> -np
"""
# Memory depends on these, and no figure here does.
UNCOUNTED: Final = """
--adapter-path=
--max-tokens -m=
--draft-model=
--num-draft-tokens=
--prompt-concurrency=
--prompt-cache-size=
--prompt-cache-bytes=
--prompt-cache-file=
--quantize-activations -qa
--pipeline
--image=*
"""
# No memory that is counted here depends on these.
HARMLESS: Final = """
--trust-remote-code
--extra-eos-token=*
--system-prompt=
--prompt -p=
--prefill-response=
--temp=
--top-p=
--min-p=
--top-k=
--xtc-probability=
--xtc-threshold=
--min-tokens-to-keep=
--seed=
--ignore-chat-template
--use-default-chat-template
--chat-template=
--chat-template-args=
--chat-template-config=
--verbose=
--host=
--port=
--allowed-origins=
--log-level=
"""
# fmt: on
FLAGS: Final = flags_of(taken=TAKEN, uncounted=UNCOUNTED, harmless=HARMLESS)


def in_our_words(flag: Flag, name: str, value: str) -> list[str]:  # noqa: ARG001 - as other engines' are called
    """Options of ours that say what a flag says."""
    return [flag.ours, value]
