"""Candidates for tests of ledgers without files, and how workers end with them."""

from __future__ import annotations

from mmmeta.filters import All
from mmmeta.state.ledger.outcomes import Candidate, Claim, Outcome, Place
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.store import Ledger, LedgerStore

RULES = JobRules(
    name="job",
    condition=All(()),
    rerun_on="content",
    content_key="content_hash",
    attempts=2,
    backoff=60,
    order_by=None,
    fingerprint="f",
)

WORKER = "another-boot/worker"


def candidate(
    file: str, version: str = "1", *, priority: object = None, deleted: bool = False, meant: bool = True
) -> Candidate:
    return Candidate(file, file if priority is None else priority, version, version, 1, deleted, meant and not deleted)


def offer(ledgers: LedgerStore, *candidates: Candidate, rules: JobRules = RULES, whole: bool = False) -> None:
    with ledgers.changing(rules) as ledger:
        ledger.offer(candidates, 1, whole=whole)


def claim(ledger: Ledger, count: int = 10) -> list[Claim]:
    return ledger.claim(count, worker=WORKER, run_id="run", lease=600)


def work(
    ledgers: LedgerStore, error: str | None = None, *, rules: JobRules = RULES, places: dict[str, Place] | None = None
) -> list[str]:
    """Claim everything, and settle it; gives what became of each file."""
    with ledgers.changing(rules) as ledger:
        claims = claim(ledger)
        outcomes = [Outcome(entry, error, place=(places or {}).get(entry.file)) for entry in claims]
        return [
            f"{entry.outcome.claim.file} {entry.status}"
            for entry in ledger.settle(outcomes, run_id="run", worker=WORKER)
        ]


def statuses(ledgers: LedgerStore, *names: str) -> list[str | None]:
    with ledgers.looking() as view:
        entries = [view.entry("job", name) for name in names]
    return [None if entry is None else entry.status for entry in entries]
