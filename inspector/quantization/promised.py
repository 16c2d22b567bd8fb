"""What a quantised config's weights weigh, tensor by tensor, before there is a file to read them from."""

from __future__ import annotations

from math import prod

from inspector.dtypes import DTYPES
from inspector.errors import FactsError
from inspector.quantization.promised_config import rules_of
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final, Protocol

    from inspector.quantization.promised_config import Packing, Rules

    class Shaped(Protocol):
        """A tensor by name, shape, part of the model and how many there are alike."""

        @property
        def name(self) -> str: ...
        @property
        def shape(self) -> tuple[int, ...]: ...
        @property
        def role(self) -> str: ...
        @property
        def copies(self) -> int: ...


# Parts whose matrices are linear layers; a head, a router or an embedding is packed only where a config says so.
_LINEAR: Final = frozenset({"attention", "mlp", "expert", "recurrent"})


class PromisedTensor(Record):
    """A tensor that a config promises: as many elements as the model means, in as many bytes as the writer stores.

    `packing`: how it is packed, "" for a plain one; `nbytes` of one copy, scales and zero points included.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    copies: int
    nbytes: int
    packing: str = ""

    @property
    def n_elements(self) -> int:
        """Elements of one copy."""
        return prod(self.shape)


def promised_tensors(
    tensors: Iterable[Shaped], config: Mapping[str, Any], dtype: str, *, tower: bool = False
) -> tuple[PromisedTensor, ...]:
    """The tensors in the bytes that `config` (a quantisation config; empty for none) stores them in.

    `dtype`: of what is not packed; `tower`: they are not the language model's. Raises FactsError where a layout
    has no rule here.
    """
    element = DTYPES[dtype].block_bytes
    rules = rules_of(config)
    if config and rules is None:
        raise FactsError(f"no rule gives the bytes of {config.get('quant_method') or 'this quantisation'}")
    if rules is None or (tower and not rules.towers):
        return tuple(_plain(t, element) for t in tensors)
    return tuple(_stored(t, rules, element) for t in tensors)


def _plain(t: Shaped, element: int) -> PromisedTensor:
    row = PromisedTensor(t.name, t.shape, t.role, t.copies, 0)
    return row.replace(nbytes=row.n_elements * element)


def _matrix(t: Shaped) -> tuple[int, int, int] | None:
    """(how many, rows, columns) of a tensor of matrices; fused experts without `.weight` lie the other way round."""
    if not t.name.endswith(".weight") and (t.role != "expert" or len(t.shape) != 3):
        return None
    if len(t.shape) == 2:
        return 1, t.shape[0], t.shape[1]
    if len(t.shape) == 3 and t.role == "expert":
        n, a, b = t.shape
        return (n, a, b) if t.name.endswith(".weight") else (n, b, a)
    return None


def _takes_part(t: Shaped, rules: Rules) -> bool:
    if rules.experts_only:
        return t.role == "expert"
    return t.role in _LINEAR or rules.everything or (rules.head and t.role == "output")


def _stored(t: Shaped, rules: Rules, element: int) -> PromisedTensor:
    matrix = _matrix(t)
    if matrix is None or not _takes_part(t, rules):
        return _plain(t, element)
    n, rows, columns = matrix
    packing = rules.packing_of(t.name.removesuffix(".weight"))
    if packing is None or (packing.group and columns % packing.group):
        return _plain(t, element)
    nbytes = n * _nbytes(packing, rows, columns)
    return PromisedTensor(t.name, t.shape, t.role, t.copies, nbytes, packing.name)


def _nbytes(packing: Packing, rows: int, columns: int) -> int:
    if packing.tensors is None:
        raise FactsError(f"no rule gives the bytes of {packing.name}")
    return sum(DTYPES[dtype].nbytes(shape) for _, dtype, shape in packing.tensors(rows, columns))
