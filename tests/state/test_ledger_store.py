"""What ``state.ledger.store`` promises of every ledger, without files: candidates in, claims and outcomes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from archives import SettableClock
from offered import RULES, WORKER, candidate, claim, offer, statuses, work

from mmmeta.documents.hosts import Closed
from mmmeta.errors import JobError
from mmmeta.state.ledger.outcomes import Candidate, Outcome, Place, Postponed
from mmmeta.state.ledger.rules import ACTION, LEFT, LONGEST_BACKOFF, POSTPONED
from mmmeta.state.ledger.store import LedgerStore


def test_what_is_meant_is_pending_in_its_order(ledgers: LedgerStore) -> None:
    """What is not meant never shows."""
    offer(
        ledgers,
        candidate("b", priority=2),
        candidate("a", priority=3),
        candidate("c", priority=1),
        candidate("x", meant=False),
    )
    with ledgers.looking() as view:
        assert view.due("job", SettableClock().now, descending=False) == ["c", "b", "a"]
        assert view.due("job", SettableClock().now, descending=True, limit=2) == ["a", "b"]
    assert statuses(ledgers, "a", "x") == ["pending", None]


def test_a_version_is_done_once(ledgers: LedgerStore) -> None:
    """Offered again it stays done; another version comes again."""
    offer(ledgers, candidate("a"))
    assert work(ledgers) == ["a done"]
    offer(ledgers, candidate("a"))
    assert work(ledgers) == []
    offer(ledgers, candidate("a", "2"))
    assert work(ledgers) == ["a done"]


def test_what_was_selected_stays_selected(ledgers: LedgerStore) -> None:
    """Until it is settled, in the version that counts by then; a done one does not come again for what it does not mean."""
    offer(ledgers, candidate("a"))
    offer(ledgers, candidate("a", "2", meant=False))
    assert work(ledgers) == ["a done"]
    offer(ledgers, candidate("a", "2"))
    assert work(ledgers) == []
    offer(ledgers, candidate("a", "3", meant=False))
    assert work(ledgers) == []


@pytest.mark.parametrize("ok", [True, False])
def test_a_version_that_comes_while_an_older_one_is_worked_on(ledgers: LedgerStore, ok: bool) -> None:
    """It is due as soon as the older one is settled, with all attempts before it."""
    offer(ledgers, candidate("a"))
    with ledgers.changing(RULES) as ledger:
        claims = claim(ledger)
    offer(ledgers, candidate("a", "2"))
    assert statuses(ledgers, "a") == ["claimed"]
    with ledgers.changing(RULES) as ledger:
        (settled,) = ledger.settle([Outcome(claims[0], None if ok else "ValueError")], run_id=None, worker=WORKER)
        assert settled.status == "pending"
        (again,) = claim(ledger)
    assert (again.attempt, again.token > claims[0].token) == (1, True)


def test_a_token_that_another_has_raised_settles_nothing(ledgers: LedgerStore) -> None:
    """Whatever it says."""
    offer(ledgers, candidate("a"))
    with ledgers.changing(RULES) as ledger:
        (first,) = claim(ledger)
        ledger.release([first])
        (second,) = claim(ledger)
        (settled,) = ledger.settle([Outcome(first)], run_id=None, worker=WORKER)
        assert (settled.status, second.attempt) == ("lost", 1)
    assert statuses(ledgers, "a") == ["claimed"]


def test_attempts_are_used_up(ledgers: LedgerStore, clock: SettableClock) -> None:
    """Failed and due again later, then dead; a person starts it over."""
    offer(ledgers, candidate("a"))
    assert work(ledgers, "ValueError") == ["a failed"]
    assert work(ledgers) == []
    clock.forward(seconds=80)
    assert work(ledgers, "ValueError") == ["a dead"]
    clock.forward(seconds=2 * LONGEST_BACKOFF)
    assert work(ledgers) == []
    with ledgers.changing(RULES) as ledger:
        assert ledger.retry(dead=True, files=None) == 1
    assert work(ledgers) == ["a done"]


def test_what_is_deleted_before_its_turn_is_set_aside(ledgers: LedgerStore) -> None:
    """And comes again when it is back."""
    offer(ledgers, candidate("a"), candidate("b"))
    offer(ledgers, candidate("a", deleted=True))
    assert statuses(ledgers, "a", "b") == ["skipped", "pending"]
    offer(ledgers, candidate("a"))
    assert work(ledgers) == ["a done", "b done"]


def test_what_was_done_and_is_deleted_is_undone(ledgers: LedgerStore) -> None:
    """Where the rules say so, and unless it is back before that."""
    rules = replace(RULES, on_delete=ACTION)
    offer(ledgers, candidate("a"), candidate("b"), rules=rules)
    work(ledgers, rules=rules)
    offer(ledgers, candidate("a", deleted=True), candidate("b", deleted=True), rules=rules)
    offer(ledgers, candidate("b"), rules=rules)
    assert statuses(ledgers, "a", "b") == ["pending", "done"]
    with ledgers.changing(rules) as ledger:
        (undo,) = claim(ledger)
        assert (undo.file, undo.retract) == ("a", True)
        assert ledger.settle([Outcome(undo)], run_id=None, worker=WORKER)[0].status == "skipped"


def test_a_changed_selection_leaves_what_it_does_not_mean(ledgers: LedgerStore) -> None:
    """What is done stays so, and is counted."""
    offer(ledgers, candidate("a"))
    work(ledgers)
    offer(ledgers, candidate("b"), candidate("c"))
    with ledgers.changing(RULES) as ledger:
        offered = ledger.offer([candidate("c"), candidate("d")], 2, whole=True)
    assert (offered.selected, offered.left, offered.left_done) == (1, 1, 1)
    assert statuses(ledgers, "a", "b", "c", "d") == ["done", "skipped", "pending", "pending"]
    with ledgers.looking() as view:
        assert view.set_aside("job") == {LEFT: 1}


def test_changed_rules_make_nothing_come_again(ledgers: LedgerStore) -> None:
    """What is done counts as done in the version that it has under them."""
    offer(ledgers, candidate("a"))
    work(ledgers)

    def current(names: Sequence[str]) -> Iterator[Candidate]:
        return (candidate(name, "other words for 1") for name in names)

    rules = replace(RULES, rerun_on="metadata")
    with ledgers.changing(rules) as ledger:
        known = ledger.known()
        assert known is not None
        ledger.redefine(known.rules, current)
        ledger.offer(current(["a"]), 2)
    assert work(ledgers, rules=rules) == []
    offer(ledgers, candidate("a", "other words for 2"), rules=rules)
    assert work(ledgers, rules=rules) == ["a done"]


def test_adopting_takes_for_done_with_its_place(ledgers: LedgerStore) -> None:
    """What the ledger does not have is named."""
    offer(ledgers, candidate("a"), candidate("b"))
    place = Place("/docs", "a.pdf")
    with ledgers.changing(RULES) as ledger:
        assert sorted(ledger.adoptable()) == ["a", "b"]
        adopted = ledger.adopt({"a": place, "stranger": None})
    assert (adopted.named, adopted.adopted, adopted.strangers) == (2, 1, ("stranger",))
    with ledgers.looking() as view:
        assert view.places("job", ["a"]) == {"a": place}
    assert work(ledgers) == ["b done"]


def test_forgetting_goes_on_with_larger_tokens(ledgers: LedgerStore) -> None:
    """Receipts in a target outlive the ledger."""
    offer(ledgers, candidate("a"))
    with ledgers.changing(RULES) as ledger:
        (before,) = claim(ledger)
        assert ledger.forget() == 1
        assert ledger.known() is None
    offer(ledgers, candidate("a"))
    with ledgers.changing(RULES) as ledger:
        (after,) = claim(ledger)
    assert after.token > before.token


def test_a_rehearsal_leaves_nothing(ledgers: LedgerStore) -> None:
    """However much it changed."""
    with ledgers.rehearsing(RULES) as ledger:
        ledger.offer([candidate("a")], 1)
        assert ledger.due() == ["a"]
    with ledgers.looking() as view:
        assert (view.jobs(), view.count("job", "pending")) == ([], 0)


def test_counts_are_right(ledgers: LedgerStore, clock: SettableClock) -> None:
    """Whatever happened."""
    offer(ledgers, *(candidate(name) for name in "abcd"))
    work(ledgers, "ValueError")
    offer(ledgers, candidate("a", "2"), candidate("b", deleted=True), candidate("e"))
    with ledgers.looking() as view:
        status = view.status("job", clock.now)
        assert view.miscounts() == []
    assert status is not None
    assert (status.pending, status.failed, status.skipped, status.due) == (2, 2, 1, 2)


def test_the_history_tells_each_try(ledgers: LedgerStore, clock: SettableClock) -> None:
    """The latest first; a run by the beginning of its id."""
    offer(ledgers, candidate("a"))
    work(ledgers, "ValueError")
    clock.forward(seconds=80)
    work(ledgers)
    with ledgers.looking() as view:
        assert [attempt.status for attempt in view.history(job="job")] == ["done", "failed"]
        assert view.done_by("job", "run") == ["a"]
        assert view.next_done("job", "") == "a"
        assert len(view.history(run_id="ru", limit=1)) == 1
        with pytest.raises(JobError, match="empty"):
            view.history(run_id="")
        with pytest.raises(JobError, match="no status"):
            view.entries("job", ["gone"])


def postpone(ledgers: LedgerStore, until: datetime, *, asked: bool = True) -> list[str]:
    with ledgers.changing(RULES) as ledger:
        outcomes = [Outcome(entry, POSTPONED, "waiting", postponed=Postponed(until, asked)) for entry in claim(ledger)]
        return [entry.status for entry in ledger.settle(outcomes, run_id="run", worker=WORKER)]


def test_what_is_postponed_has_its_attempts_before_it(ledgers: LedgerStore, clock: SettableClock) -> None:
    """However often; it is due when it was said, a little later each time it was asked in vain."""
    offer(ledgers, candidate("a"))
    for waits in (0, 1, 3, 7):
        until = clock.now + timedelta(seconds=10)
        assert postpone(ledgers, until) == ["postponed"]
        with ledgers.looking() as view:
            entry = view.entry("job", "a")
            status = view.status("job", clock.now)
            waiting = view.waiting("job")
        assert entry is not None
        assert status is not None
        assert (entry.status, entry.attempts, entry.due) == ("failed", 0, until + timedelta(seconds=waits))
        assert (status.failed, status.postponed, status.due) == (0, 1, 0)
        assert [(one.reason, one.files, one.until) for one in waiting] == [("waiting", 1, entry.due)]
        clock.forward(seconds=10 + waits)
    assert work(ledgers, "Error") == ["a failed"]
    clock.forward(days=2)
    assert postpone(ledgers, clock.now, asked=False) == ["postponed"]
    with ledgers.looking() as view:
        assert [attempt.status for attempt in view.history()] == ["failed", *["postponed"] * 4]
        entry = view.entry("job", "a")
    assert entry is not None
    assert entry.attempts == 1
    assert work(ledgers) == ["a done"]


def test_hosts_that_wait_are_known_to_all(ledgers: LedgerStore, clock: SettableClock) -> None:
    """Until they answer again, or a person asks for a retry; what ended long ago is forgotten."""
    offer(ledgers, candidate("a"))
    now = clock.now.timestamp()
    busy, old = Closed(now + 60, 2, "answered 503"), Closed(now - 100_000, 1, "was silent")
    with ledgers.changing(RULES) as ledger:
        ledger.note_hosts({"a.example": busy, "b.example": busy, "old.example": old})
    with ledgers.changing(RULES) as ledger:
        ledger.note_hosts({"b.example": None})
    with ledgers.looking() as view:
        assert view.hosts() == {"a.example": busy}
    with ledgers.changing(RULES) as ledger:
        ledger.retry(dead=False, files=None)
    with ledgers.looking() as view:
        assert view.hosts() == {}


def test_what_a_person_decides_at_once_is_told_by_name(ledgers: LedgerStore) -> None:
    """Dismissed and adopted in one moment: the same history in every database, whatever order the rows lie in."""
    for status in ("dismissed", "adopted"):
        rules = replace(RULES, name=status, attempts=1)
        offer(ledgers, *[candidate(name, priority=at) for at, name in enumerate("cadb")], rules=rules)
        if status == "dismissed":
            work(ledgers, "no", rules=rules)
        with ledgers.changing(rules) as ledger:
            if status == "dismissed":
                assert ledger.dismiss(["d", "b"]) + ledger.dismiss(None) == 4
            else:
                ledger.adopt(dict.fromkeys("dbac"))
        with ledgers.looking() as view:
            told = "".join(one.file for one in view.history(job=status) if one.status == status)
        assert told == ("cadb" if status == "dismissed" else "dcba")
