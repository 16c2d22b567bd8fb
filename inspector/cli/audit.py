"""`inspector audit`."""

from __future__ import annotations

import os
import sys
import time

import click

from inspector import __version__
from inspector.cli import outcome
from inspector.cli.options import complete_files, json_option
from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.audit.runner import AuditReport
    from inspector.audit.subject.records import Subject


def _progress() -> Callable[[str], None] | None:
    """Progress for anything over a second: on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        return None
    start = time.monotonic()

    def say(words: str) -> None:
        if time.monotonic() - start > 1:
            sys.stderr.write(f"\r\x1b[K{words[:70]}")
            sys.stderr.flush()

    return say


def _gather(text: str, *, values: bool) -> Subject:
    """What to audit, on this machine, in the Hub's cache, or on the Hub. `values`: more than headers will be read."""
    from inspector.audit.subject.local import gather
    from inspector.checkpoint import read_target

    target = read_target(text)
    if target.kind == "local":
        return gather(text)
    if target.kind == "stored":
        from inspector.audit.subject.stored import stored_subject

        return stored_subject(target)
    if target.kind == "remote":
        if values:
            raise InspectorError(f"{text}: --deep and --hash read whole files", hint="copy it here first")
        from inspector.audit.subject.store import store_subject

        return store_subject(target)
    if target.kind == "url":
        raise InspectorError(f"{text}: audited are files, folders and repositories", hint="download it first")
    from inspector.sources.cache import find_snapshot, hub_cache_folder

    found = find_snapshot(hub_cache_folder(os.environ), target.repo, target.revision)
    path = os.path.join(found, target.file) if found and target.file else found
    if path and os.path.lexists(path) and not target.quant:
        return gather(path)
    if values:
        raise InspectorError(f"{text}: --deep and --hash read whole files", hint=f"hf download {target.repo}")
    from inspector.audit.subject.remote import audit_subject
    from inspector.cli.progress import progress_line
    from inspector.sources.http import Client

    with progress_line() as say:
        return audit_subject(Client(progress=say), target)


def each_in_stores(targets: tuple[str, ...]) -> Iterator[str]:
    """The targets, with the models of a store in place of its folder."""
    from inspector.stores.targets import store_kind

    for target in targets:
        if not os.path.isdir(target) or store_kind(target) is None:
            yield target
            continue
        from inspector.stores.walk import find_models

        yield from (m.target for m in find_models(target) if m.role == "model")


def _check_codes(words: tuple[str, ...]) -> None:
    from inspector.audit.registry import find_rule

    for word in words:
        if find_rule(word) is None:
            raise click.UsageError(f"--ignore {word}: no such rule; 'inspector rule' lists them")


@click.command()
@click.argument("targets", metavar="PATH...", nargs=-1, required=True, shell_complete=complete_files)
@click.option("--deep", is_flag=True, help="Read tensor values too: NaN, Inf, all-zero tensors, broken block scales.")
@click.option("--hash", "hashes", is_flag=True, help="Hash whole files against what the cache, LFS or SHA256SUMS says.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "info"]), default="error", show_default=True,
              help="Exit code 1 at findings of this severity or worse.")  # fmt: skip
@click.option("--ignore", multiple=True, metavar="CODE", help="Leave a rule out; repeatable.")
@click.option("--sarif", "as_sarif", is_flag=True, help="SARIF 2.1.0 on stdout, for code hosts.")
@click.option("--root", metavar="FOLDER", help="What SARIF names files relative to. By default the current folder.")
@json_option
def audit(
    targets: tuple[str, ...],
    *,
    deep: bool,
    hashes: bool,
    fail_on: str,
    ignore: tuple[str, ...],
    as_sarif: bool,
    root: str | None,
    as_json: bool,
) -> int:
    """Whether a model file or folder may be loaded: every defect of every file, worst first.

    \b
    Examples:
      inspector audit model.gguf
      inspector audit ./my-model/ --fail-on warning
      inspector audit ./my-model/ --deep --hash --sarif > audit.sarif
    """
    from inspector.audit.runner import run

    _check_codes(ignore)
    reports: list[AuditReport] = []
    failed = False
    for target in each_in_stores(targets):
        try:
            reports.append(
                run(
                    _gather(target, values=deep or hashes),
                    ignore=ignore,
                    deep=deep,
                    hashes=hashes,
                    progress=_progress(),
                )
            )
        except InspectorError as error:
            failed = True
            outcome.complain(str(error), hint=error.hint)
    _write(reports, as_sarif=as_sarif, as_json=as_json, root=os.path.abspath(root or "."))
    return _code(reports, fail_on, failed=failed)


def _write(reports: list[AuditReport], *, as_sarif: bool, as_json: bool, root: str) -> None:
    from inspector.audit.registry import rules
    from inspector.report import audit as report

    if as_sarif:
        outcome.write_json(report.sarif(reports, rules(), version=__version__, root=root))
    elif as_json and len(reports) == 1:
        outcome.write_json(report.audit_json(reports[0]))
    elif as_json:
        outcome.write_json([report.audit_json(r) for r in reports])
    else:
        lines = [line for r in reports for line in report.audit_lines(r, width=outcome.width())]
        if lines:
            outcome.write(lines)


def _code(reports: list[AuditReport], fail_on: str, *, failed: bool) -> int:
    from inspector.audit.registry import rank

    if failed:
        return outcome.FAILED
    worst = max((rank(f.severity) for r in reports for f in r.findings), default=-1)
    return outcome.NO if worst >= rank(fail_on) else outcome.OK
