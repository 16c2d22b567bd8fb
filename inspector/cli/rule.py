"""`inspector rule`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import json_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.report import documents


_ALL = "'inspector rule' lists them"


@click.command()
@click.argument("code", required=False)
@json_option
def rule(*, code: str | None, as_json: bool) -> int:
    """The manual page of an audit rule, by code or name; without one, the list of all.

    \b
    Examples:
      inspector rule
      inspector rule CD002
    """
    from inspector.audit.registry import find_rule, rules
    from inspector.report import audit as report

    if code is None:
        every = rules()
        if as_json:
            table: documents.Rules = {"schema": "inspector.rules/1", "rules": list(every.values())}
            outcome.write_json(table)
        else:
            outcome.write(report.rules_lines(every))
        return outcome.OK
    found = find_rule(code)
    if found is None:
        import difflib

        near = difflib.get_close_matches(code.lower(), [r.name for r in rules().values()], n=1)
        raise click.UsageError(f"no rule {code!r}; " + (f"did you mean {near[0]}?" if near else _ALL))
    if as_json:
        page: documents.RulePage = {
            "schema": "inspector.rule/1", "code": found.code, "name": found.name, "severity": found.severity,
            "page": found.page, "hint": found.hint,
        }  # fmt: skip
        outcome.write_json(page)
    else:
        outcome.write(report.rule_lines(found, width=outcome.width()))
    return outcome.OK
