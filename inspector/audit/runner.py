"""Runs the rules over a subject: every finding of every rule, worst first, those of one kind capped with a count."""

from __future__ import annotations

from inspector.audit.registry import Finding, Hit, rank, rules
from inspector.audit.subject.records import paused_gc
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Annotated, Final

    from inspector.audit.registry import Rule
    from inspector.audit.subject.records import Subject

MOST_OF_ONE_KIND: Final = 20
# No rule may bring the run down by looking too long: a generator that yields this much is cut and counted.
MOST_COUNTED: Final = 100_000
VERDICTS: Final = ("pass", "warn", "fail")  # in the order of severities

if TYPE_CHECKING:
    Verdict = Annotated[str, ("enum", VERDICTS)]


class AuditReport(Record):
    """The verdict on one target: "pass", "warn" or "fail", and the findings behind it, worst first.

    `n_files`, `nbytes`: the plain files that were looked at, of any kind, and what they hold. `folder`: where on this
    machine the findings' places lie, "" for a repository.
    """

    target: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    n_files: int
    nbytes: int
    folder: str = ""


def _finding(r: Rule, hit: Hit) -> Finding:
    return Finding(r.code, hit.severity or r.severity, hit.where, hit.message, hit.hint or r.hint)


def _guarded(r: Rule, subject: Subject) -> Iterator[Hit]:
    """A rule's hits. One that breaks is a defect of this program: it is reported, and hides no other finding."""
    try:
        yield from r.check(subject)
    except Exception as error:
        words = f"this check itself failed ({type(error).__name__}), which is a defect of inspector: please report it"
        yield Hit(subject.target, words, "its author would like to see this file", "error")


def _run_rule(r: Rule, subject: Subject, *, guard: bool) -> list[Finding]:
    found: list[Finding] = []
    n = 0
    for hit in _guarded(r, subject) if guard else r.check(subject):
        n += 1
        if n <= MOST_OF_ONE_KIND:
            found.append(_finding(r, hit))
        if n >= MOST_COUNTED:
            break
    if n > MOST_OF_ONE_KIND:
        worst = max(found, key=lambda f: rank(f.severity)).severity
        at_least = "at least " if n >= MOST_COUNTED else ""
        found.append(
            Finding(r.code, worst, subject.target, f"{at_least}{n - MOST_OF_ONE_KIND:,} more of this kind", r.hint)
        )
    return found


def run(
    subject: Subject,
    *,
    ignore: Collection[str] = (),
    deep: bool = False,
    hashes: bool = False,
    progress: Callable[[str], None] | None = None,
    guard: bool = True,
) -> AuditReport:
    """All findings on a subject. `ignore`: codes or names of rules to leave out; `deep` and `hashes` read the data.

    `progress` is told how far the long checks are. `guard`: a rule that breaks becomes a finding instead of raising.
    """
    subject = subject.replace(progress=progress)
    with paused_gc():
        findings = _findings(subject, ignore, deep=deep, hashes=hashes, guard=guard)
    worst = max((rank(f.severity) for f in findings), default=0)
    verdict = VERDICTS[worst]
    sizes = [e.size for e in subject.entries if e.kind == "file"]
    return AuditReport(subject.target, verdict, tuple(findings), len(sizes), sum(sizes), subject.root)


def _findings(subject: Subject, ignore: Collection[str], *, deep: bool, hashes: bool, guard: bool) -> list[Finding]:
    """What all rules that are wanted find, worst first."""
    wanted = {"", *(("values",) if deep else ()), *(("hash",) if hashes else ())}
    skipped = {word.lower() for word in ignore}
    findings: list[Finding] = []
    for r in rules().values():
        if r.needs not in wanted or r.code.lower() in skipped or r.name in skipped:
            continue
        findings += _run_rule(r, subject, guard=guard)
    findings.sort(key=lambda f: -rank(f.severity))
    return findings
