"""The audit of a target as a row has it: of a file or folder, of a store's model, in a bucket, on the Hub."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.audit.runner import AuditReport
    from inspector.sources.target import Target


def audited(text: str) -> AuditReport | None:
    """Every finding on a target; None for an address, whose server has nothing but the one file.

    Raises InspectorError. Where the Hub's cache is, huggingface_hub says, as when a model is opened.
    """
    from inspector.audit.api import audit
    from inspector.checkpoint import read_target

    target = read_target(text)
    if target.kind in {"local", "stored"}:
        return audit(text)
    if target.kind == "remote":
        from inspector.audit.runner import run
        from inspector.audit.subject.store import store_subject

        return run(store_subject(target))
    return _of_repo(target) if target.kind == "hub" else None


def _of_repo(target: Target) -> AuditReport:
    from huggingface_hub.constants import HF_HUB_CACHE

    from inspector.audit.api import audit
    from inspector.audit.runner import run
    from inspector.audit.subject.remote import audit_subject
    from inspector.sources.cache import find_snapshot
    from inspector.sources.http import Client

    snapshot = find_snapshot(HF_HUB_CACHE, target.repo, target.revision)
    path = os.path.join(snapshot, target.file) if snapshot and target.file else snapshot
    if path and os.path.lexists(path) and not target.quant:
        return audit(path)
    return run(audit_subject(Client(), target))
