"""Characters that a reader does not see, or that turn what is seen around; honest scripts and emoji left alone."""

from __future__ import annotations

import re
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Zero-width and invisible, bidirectional controls, fillers, tags, variation selectors of the supplement, C0 and C1.
_SUSPECT: Final = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef]"
)
_JOINERS: Final = "\u200c\u200d"
_MARKS: Final = "\u200e\u200f\u061c"
_CARRIAGE: Final = "\r"


def _honest(text: str, at: int) -> bool:
    """Joiners between letters of scripts that need them or between emoji, marks in right-to-left text, CRLF, flags."""
    char = text[at]
    if char == _CARRIAGE:
        return True
    before = next((c for c in reversed(text[max(0, at - 3) : at]) if not 0xFE00 <= ord(c) <= 0xFE0F), "")
    after = text[at + 1 : at + 2]
    if char in _JOINERS:
        return _joins(before) and _joins(after)
    if char in _MARKS:
        return any(unicodedata.bidirectional(c) in {"R", "AL"} for c in text[max(0, at - 12) : at + 13])
    if 0xE0020 <= ord(char) <= 0xE007F:  # 🏴 and at most six letters, then the end tag: the flags of England, Wales
        flag = text.rfind("\U0001f3f4", max(0, at - 8), at)
        return flag >= 0 and all(0xE0020 <= ord(c) <= 0xE007F for c in text[flag + 1 : at])
    if char == "\ufeff":
        return at == 0
    return False


def _joins(char: str) -> bool:
    """Whether a joiner may stand beside this: a letter or mark beyond Latin, Greek and Cyrillic, or an emoji."""
    return char != "" and ord(char) >= 0x590 and unicodedata.category(char) in {"Lo", "Mn", "Mc", "So", "Sk"}


def hidden_in(text: str, *, most: int = 200) -> tuple[int, ...]:
    """The places of hidden characters in a text, the first few."""
    out: list[int] = []
    for n, match in enumerate(_SUSPECT.finditer(text)):
        if n > 10_000 or len(out) >= most:
            break
        if not _honest(text, match.start()):
            out.append(match.start())
    return tuple(out)


def describe_hidden(text: str, places: tuple[int, ...]) -> str:
    """`U+202E RIGHT-TO-LEFT OVERRIDE (2 times)`, the first few kinds."""
    counts: dict[str, int] = {}
    for at in places:
        counts[text[at]] = counts.get(text[at], 0) + 1
    words = [
        f"U+{ord(c):04X} {unicodedata.name(c, 'control character')}" + (f" ({n} times)" if n > 1 else "")
        for c, n in list(counts.items())[:4]
    ]
    return ", ".join(words) + (" and others" if len(counts) > 4 else "")
