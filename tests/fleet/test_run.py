"""A process that dies takes no other model's row with it, whichever group it was read in."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from inspector.fleet.engines import Engine
from inspector.fleet.journal import Item, Journal
from inspector.fleet.options import ScanOptions
from inspector.fleet.run import Run
from inspector.fleet.scan import Outputs
from inspector.fleet.totals import totals


class Died(Exception):
    """What an engine raises for a task whose process is gone."""


class Here(Engine):
    """Runs each task at once, in this process; those with a target in `deadly` die, as often as they are tried."""

    lost = (Died,)

    def __init__(self, deadly, *, all_is_lost):
        self.deadly, self.all_is_lost = deadly, all_is_lost

    def submit(self, work, *args):
        future = Future()
        if args and any(item.target in self.deadly for _, item in args[0]):
            future.set_exception(Died())
        else:
            future.set_result(work(*args))
        return future

    def renew(self):
        return self.all_is_lost


@pytest.mark.parametrize("all_is_lost", [True, False])
@pytest.mark.parametrize("n", [1, 2, 40])
def test_only_the_model_that_ends_processes_is_lost(tmp_path, n, all_is_lost):
    targets = [str(tmp_path / f"{i}.gguf") for i in range(n)]
    deadly = {targets[-1], targets[n // 2], targets[min(5, n - 1)]}  # in groups of one, two and more
    journal = Journal(Outputs(str(tmp_path / "m.jsonl")).first, resume=False)
    journal.add_items([Item(target) for target in targets])
    Run(journal, Here(deadly, all_is_lost=all_is_lost), ScanOptions(), lambda _: None).run()
    rows = list(journal.rows())
    assert [row["target"] for row in rows] == targets
    assert {row["target"] for row in rows if row["error_kind"] == "worker"} == deadly
    assert {row["error_kind"] for row in rows if row["target"] not in deadly} <= {"source"}
    assert totals(rows).n_unreached == n
    journal.close(remove=True)
