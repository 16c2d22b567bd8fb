"""`inspector.audit(target)`: the audit as a function."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from inspector.audit.runner import AuditReport


def audit(target: str, *, ignore: Collection[str] = (), deep: bool = False, hashes: bool = False) -> AuditReport:
    """Every finding on a model file or folder, and the verdict; nothing that the target holds is loaded or run.

    `ignore`: codes or names of rules to leave out; `deep` reads tensor values too, `hashes` whole files. The verdict is
    "pass", "warn" or "fail". Raises SourceError when there is nothing to look at.
    """
    from inspector.audit.runner import run
    from inspector.audit.subject.local import gather
    from inspector.audit.subject.stored import stored_subject
    from inspector.stores.targets import stored_target

    stored = stored_target(target)
    return run(gather(target) if stored is None else stored_subject(stored), ignore=ignore, deep=deep, hashes=hashes)
