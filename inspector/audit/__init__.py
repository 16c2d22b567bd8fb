"""Refuse a broken or hostile model before anything loads it: every defect of every file in one run.

`subject/` gathers what is looked at, opening nothing outside the target; `readers/` take bytes and text apart;
`rules/` judge, each a function in the registry (`registry.py`) with a stable code; `runner.py` runs them and caps
findings of one kind.

`inspector.audit` is this package and the function of the public API at once (docs/decisions/0007-public-names.md).
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from inspector.audit.runner import AuditReport


class _AuditModule(ModuleType):
    """A module that can be called: importing any of its modules binds `inspector.audit` to it."""

    def __call__(
        self, target: str, *, ignore: Collection[str] = (), deep: bool = False, hashes: bool = False
    ) -> AuditReport:
        from inspector.audit.api import audit

        return audit(target, ignore=ignore, deep=deep, hashes=hashes)


sys.modules[__name__].__class__ = _AuditModule
