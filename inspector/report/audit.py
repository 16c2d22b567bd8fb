"""`audit` and `rule`: a summary read in five seconds, JSON, and SARIF 2.1.0 for code hosts."""

from __future__ import annotations

import os

from inspector.jsonable import jsonable
from inspector.report.escape import escape
from inspector.report.text import wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from inspector.audit.registry import Finding, Rule
    from inspector.audit.runner import AuditReport
    from inspector.report import documents

_VERDICTS: Final = {"pass": "PASS", "warn": "WARN", "fail": "FAIL"}
_SARIF_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}
_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_MAX_MESSAGE: Final = 2000


def _escaped(finding: Finding) -> Finding:
    """A finding with every text escaped and none without end."""
    return finding.replace(**{f: escape(str(getattr(finding, f)))[:_MAX_MESSAGE] for f in finding._fields})


def audit_json(report: AuditReport) -> documents.Audit:
    """The schema `inspector.audit/1` for one target."""
    return {
        "schema": "inspector.audit/1",
        "target": escape(report.target),
        "verdict": report.verdict,
        "findings": [_escaped(f) for f in report.findings],
        "n_files": report.n_files,
        "nbytes": report.nbytes,
    }


def audit_lines(report: AuditReport, *, width: int) -> list[str]:
    """A verdict line, then findings with a hint each, worst first."""
    counts = {s: sum(f.severity == s for f in report.findings) for s in ("error", "warning", "info")}
    tally = ", ".join(f"{n} {s}{'s' if n > 1 and s != 'info' else ''}" for s, n in counts.items() if n)
    files = f"{report.n_files} file{'s' if report.n_files != 1 else ''}, {format_nbytes(report.nbytes)}"
    head = f"{_VERDICTS[report.verdict]}  {escape(report.target)}  ({files}{'; ' + tally if tally else ''})"
    lines = [head] if len(head) <= width or width >= _WIDE else wrap(head, width=width, indent="      ", cut=True)
    hints: set[str] = set()
    for f in report.findings:
        where = f"{escape(f.where)}: " if f.where else ""
        lines += _under(f"  {f.severity:<7}  {f.code}  ", where + escape(f.message)[:_MAX_MESSAGE], width)
        if f.hint and f.hint not in hints:
            hints.add(f.hint)
            lines += _under("", "→ " + escape(f.hint), width)
    return lines


_WIDE: Final = 60  # columns from which on a long path is the terminal's to wrap
_HEAD: Final = 18  # columns of severity and code
_LEAST_TEXT: Final = 30


def _under(head: str, text: str, width: int) -> list[str]:
    """A text beside its head, or below it where there is no room."""
    beside = width - _HEAD >= _LEAST_TEXT
    at = " " * (_HEAD if beside else 4)
    pieces = wrap(text, width=max(width - len(at), _LEAST_TEXT), cut=True)
    if beside or not head:
        return [(head or at) + piece if i == 0 else at + piece for i, piece in enumerate(pieces)]
    return [head.rstrip(), *(at + piece for piece in pieces)]


def file_uri(absolute: str) -> str:
    """An absolute path as a file: address: `/x`, `C:\\x` or `\\\\server\\share\\x` (RFC 8089, E.2 and E.3)."""
    path = absolute.replace("\\", "/")
    return "file:" + (path if path.startswith("//") else f"//{path}" if path.startswith("/") else f"///{path}")


def _uri(finding: Finding, report: AuditReport, root: str) -> str:
    """Where a finding's file lies, seen from `root`; as file:// where it lies outside, so that no host mistakes it."""
    from urllib.parse import quote

    where = finding.where.partition(": ")[0] or report.target
    if report.folder:
        path = report.target if where == report.target else os.path.join(report.folder, where)
        absolute = os.path.abspath(path)
        folded, above = os.path.normcase(absolute), os.path.normcase(root)  # Windows: C:\\x and c:\\X are one file
        inside = folded == above or folded.startswith(above.rstrip(os.sep) + os.sep)
        where = os.path.relpath(absolute, root) if inside else file_uri(absolute)
    return quote(escape(where).replace("\\", "/"), safe="/._-~:")[:1024] or "."


def sarif(reports: Sequence[AuditReport], rules: Mapping[str, Rule], *, version: str, root: str) -> dict[str, Any]:
    """All findings as one SARIF 2.1.0 run; files are named as seen from `root`, a folder's absolute path."""
    codes = list(rules)
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "inspector",
                        "version": version,
                        "rules": [_sarif_rule(r) for r in rules.values()],
                    }
                },
                "results": [_sarif_result(f, r, codes, root) for r in reports for f in r.findings],
            }
        ],
    }


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(p.capitalize() for p in rule.name.split("-")),
        "shortDescription": {"text": rule.summary or rule.name},
        "fullDescription": {"text": " ".join(rule.page.split()) or rule.name},
        "defaultConfiguration": {"level": _SARIF_LEVELS[rule.severity]},
    }


def _sarif_result(finding: Finding, report: AuditReport, codes: list[str], root: str) -> dict[str, Any]:
    message = escape(finding.message)[:_MAX_MESSAGE] + (f" ({escape(finding.hint)})" if finding.hint else "")
    where = escape(finding.where)
    return {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": str(jsonable(f"{where}: {message}" if where else message))},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(finding, report, root)}}}],
    }


def rule_lines(rule: Rule, *, width: int) -> list[str]:
    """A rule's manual page."""
    import inspect

    needs = {"values": ", needs --deep", "hash": ", needs --hash"}.get(rule.needs, "")
    head = f"{rule.code}  {rule.name}  ({rule.severity}{needs})"
    lines = [head, ""]
    for paragraph in inspect.cleandoc(rule.page).split("\n\n"):
        lines += [*("  " + x for x in wrap(paragraph, width=width - 2)), ""]
    if rule.hint:
        lines += [*("  " + x for x in wrap("What to do: " + rule.hint, width=width - 2)), ""]
    return lines[:-1]


def rules_lines(rules: Mapping[str, Rule]) -> list[str]:
    """All rules, one line each."""
    from inspector.report.text import table

    return table([(r.code, r.name, r.severity, r.summary) for r in rules.values()], align="<<<<", head=False)
