"""What all workers together have done since a moment that the ledger itself names, whoever they were."""

from __future__ import annotations

from offered import RULES, candidate, claim, offer

from mmmeta.state.ledger.outcomes import Outcome
from mmmeta.state.ledger.store import LedgerStore


def end(ledgers: LedgerStore, worker: str, *errors: str | None, size: int | None = None) -> None:
    """A worker claims as many files as there are errors (None: it is done), and settles them."""
    with ledgers.changing(RULES) as ledger:
        claims = ledger.claim(len(errors), worker=worker, run_id=worker, lease=60.0)
        outcomes = [
            Outcome(one, error, None if error is None else f"{one.file} is bad", bytes=size)
            for one, error in zip(claims, errors, strict=True)
        ]
        ledger.settle(outcomes, run_id=worker, worker=worker)


def test_the_work_of_all_counts_and_what_was_before_does_not(ledgers: LedgerStore) -> None:
    """Each file once, by how it ended last; the failures with what the ledger knows of them."""
    offer(ledgers, *(candidate(name) for name in "abcde"))
    with ledgers.looking() as view:
        assert view.last_attempt() == 0
        assert view.ended_since("job", 0, 10).counts == {}
    end(ledgers, "w1", None)
    with ledgers.looking() as view:
        before = view.last_attempt()
    end(ledgers, "w2", None, "ValueError", size=7)
    end(ledgers, "w3", None, None, size=5)
    with ledgers.looking() as view:
        ended = view.ended_since("job", before, 10)
        assert ended.counts == {"done": 3, "failed": 1}
        assert ended.bytes == 24  # 7 + 7 + 5 + 5
        (failure,) = ended.failures
        assert (failure.file, failure.status, failure.error_type, failure.attempts) == ("c", "failed", "ValueError", 1)
        assert failure.error_message == "c is bad"
        assert sorted(view.done_since("job", before)) == ["b", "d", "e"]
        assert view.ended_since("other", before, 10).counts == {}
        assert view.ended_since("job", view.last_attempt(), 10).counts == {}


def test_a_file_that_failed_and_was_done_then_is_done(ledgers: LedgerStore) -> None:
    """By one worker and then another."""
    offer(ledgers, candidate("a"))
    end(ledgers, "w1", "ValueError")
    with ledgers.changing(RULES) as ledger:
        ledger.retry(dead=False, files=None)
    end(ledgers, "w2", None)
    with ledgers.looking() as view:
        assert view.ended_since("job", 0, 10).counts == {"done": 1}
        assert view.ended_since("job", 0, 10).failures == ()


def test_no_more_failures_are_named_than_asked_for(ledgers: LedgerStore) -> None:
    """All are counted."""
    offer(ledgers, *(candidate(name) for name in "abc"))
    end(ledgers, "w1", "ValueError", "ValueError", "ValueError")
    with ledgers.looking() as view:
        ended = view.ended_since("job", 0, 2)
    assert (ended.counts, [one.file for one in ended.failures]) == ({"failed": 3}, ["a", "b"])
    with ledgers.changing(RULES) as ledger:
        assert claim(ledger) == []
