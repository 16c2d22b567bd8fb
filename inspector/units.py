"""Bytes, counts and sizes to and from text; the only place with 1024 in it."""

from __future__ import annotations

from inspector.errors import InspectorError

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_BINARY = {"kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB}
# "24 GB" on a card's box is 24 × 1024³: so it is for all that people type, and figures of ours say GiB
_SHOP = {"k": KIB, "m": MIB, "g": GIB, "t": TIB, "kb": KIB, "mb": MIB, "gb": GIB, "tb": TIB}
_SIZES = {**_BINARY, **_SHOP, "": 1, "b": 1}
_MOST_DIGITS = 40
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def _unit_of(nbytes: int) -> tuple[int, str]:
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        # what would print as 1,024.00 of the smaller unit is 1.00 of this one
        if abs(nbytes) >= unit - unit // (KIB * 200):
            return unit, name
    return 1, "B"


def format_nbytes(nbytes: int) -> str:
    """Bytes as people read them, in powers of 1024: `4.58 GiB`, `512.00 MiB`, `640 B`."""
    unit, name = _unit_of(nbytes)
    return f"{nbytes / unit:,.2f} {name}" if unit > 1 else f"{nbytes} B"


def format_between(low: int, high: int) -> str:
    """A range in the unit of its upper end: `0.31–0.94 GiB`; one figure where both read the same."""
    unit, name = _unit_of(high)
    least, most = (f"{n / unit:,.2f}" if unit > 1 else str(n) for n in (low, high))
    return f"{most} {name}" if least == most else f"{least}–{most} {name}"


def format_count(count: int) -> str:
    """A count in the field's short form: `8.03 B`, `134.52 M`, `512`."""
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return str(count)


def _split(text: str) -> tuple[str, str]:
    stripped = text.strip().replace(",", "").replace("_", "")
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    return digits, stripped[len(digits) :].strip()


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _scaled(digits: str, unit: int, *, text: str) -> int:
    """`digits × unit` as an exact integer: decimal fractions and exponents (`1.5e9`) without floating point."""
    mantissa, e, exponent = digits.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = exponent.removeprefix("+") if e else "0"
    if not _is_digits(whole + fraction) or not _is_digits(power) or int(power) > _MOST_DIGITS:
        raise InspectorError(f"not a number: {text!r}")
    scaled: int = int(whole + fraction) * unit * 10 ** int(power) // 10 ** len(fraction)
    return scaled


def parse_nbytes(text: str) -> int:
    """`24GiB`, `24GB`, `24G` (all 24 × 1024³, as cards and memory are sold) or a number of bytes.

    Raises InspectorError.
    """
    digits, suffix = _split(text)
    unit = _SIZES.get(suffix.lower())
    if unit is None or not digits:
        raise InspectorError(f"not a size: {text!r}", hint="write it like 24GiB, 24G or 25769803776")
    return _scaled(digits, unit, text=text)


def is_shop_size(text: str) -> bool:
    """Whether a size is written as shops write it (`24G`, `24GB`), where a standard would mean powers of 1000."""
    return _split(text)[1].lower() in _SHOP


def parse_count(text: str) -> int:
    """`70B`, `1.5M`, `128k` (powers of 1000), `8e9` or a plain number. Raises InspectorError."""
    digits, suffix = _split(text)
    unit = _COUNTS.get(suffix.lower())
    if unit is None or not digits:
        raise InspectorError(f"not a count: {text!r}", hint="write it like 70B, 350M, 8e9 or 8030261248")
    return _scaled(digits, unit, text=text)


def parse_tokens(text: str) -> int:
    """A number of tokens: `32768`, `32k` (32,768: contexts come in powers of two), `1M` (1,048,576), `1e6`."""
    digits, suffix = _split(text)
    unit = {"": 1, "k": KIB, "m": MIB, "ki": KIB, "mi": MIB}.get(suffix.lower())
    if unit is None or not digits:
        raise InspectorError(f"not a number of tokens: {text!r}", hint="write it like 32768, 32k or 1e6")
    return _scaled(digits, unit, text=text)


def pad(value: int, alignment: int) -> int:
    """The smallest multiple of `alignment` that is not below `value`."""
    return -(-value // alignment) * alignment
