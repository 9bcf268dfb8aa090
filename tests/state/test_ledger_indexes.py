"""What a job's everyday statements cost: they ask indexes, whatever the ledger and the archive hold."""

from __future__ import annotations

from typing import Any

import pytest
from archives import Archive, deliver
from sql_plans import plans, statements

from mmmeta import Job


@pytest.mark.parametrize("order_by", [None, "pages", "-pages"])
def test_everyday_statements_ask_indexes(archive: Archive, order_by: str | None) -> None:
    """Claiming, settling, failing, retrying, giving back, and looking at what changed: no table is read whole."""
    deliver(archive, *"abcdef", pages=1)
    job = archive.client.job("job", order_by=order_by, on_delete="action")
    job.run(_fail_b, limit=4)
    deliver(archive, "g", pages=2)

    def work() -> None:
        job.evaluate()
        files = job.claim(2)
        job.failed(files[0], ValueError("no"))
        job.done(files[1])
        job.retry(dead=True)
        job.release(*job.claim(1))
        job.run(_fail_b)
        job.run(_fail_b)

    said = statements(archive.client, work)
    assert sum("'claimed'" in text for text in said) > 5
    scanned = [
        (step, text) for step, text in plans(archive.client, said) if step.startswith(("SCAN ledger", "SCAN files"))
    ]
    assert scanned == []


def test_the_next_files_come_out_of_the_index_in_order(archive: Archive) -> None:
    """Nothing is sorted, in no order that may be asked for."""
    deliver(archive, *"abc", pages=1)
    for name, order_by in (("none", None), ("up", "pages"), ("down", "-pages")):
        job: Job = archive.client.job(name, order_by=order_by)
        job.evaluate()
        steps = plans(archive.client, statements(archive.client, lambda job=job: job.release(*job.claim(1))))
        assert any("ledger_pending" in step for step, _ in steps)
        # The registry's few rows may be sorted.
        assert not [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step[0] and "registry" not in step[1]]


def _fail_b(file: Any) -> None:
    if file.unique_value == "b":
        raise ValueError("not b")
