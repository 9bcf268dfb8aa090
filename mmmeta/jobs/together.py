"""What all workers of a job have done together, as the report of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmmeta.jobs.bench import Bench
from mmmeta.jobs.report import FAILURES_KEPT, Failure, RunReport


def of_all(bench: Bench, own: RunReport, since: int) -> RunReport:
    """The report of a worker with what the others did, too, as the ledger has it: also those that were killed.

    Args:
        since: the last attempt before they began; each file counts once, by how it ended last.
    """
    with bench.looking() as view:
        ended = view.ended_since(bench.config.name, since, FAILURES_KEPT)
    status = bench.status()
    counts: dict[str, Any] = {
        name: ended.counts.get(name, 0) for name in ("done", "retracted", "failed", "dead", "postponed")
    }
    attempted = sum(counts.values()) - counts["postponed"]
    failures = (
        Failure(one.file, one.error_type or "", one.error_message or "", one.attempts, one.status)
        for one in ended.failures
    )
    return replace(
        own,
        **counts,
        attempted=attempted,
        selected=max(own.selected, attempted + status.due),
        bytes=ended.bytes,
        failures=tuple(failures),
        pending=status.pending,
        due_later=status.due_later,
        all_dead=status.dead,
        waiting=bench.waiting() if status.postponed else (),
    )
