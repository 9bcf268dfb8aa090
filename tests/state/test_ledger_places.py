"""What every ledger promises of places: one file has one, and it is known until it is undone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from offered import RULES, WORKER, candidate, claim, offer, statuses, work

from mmmeta.state.ledger.outcomes import Outcome, Place
from mmmeta.state.ledger.rules import ACTION
from mmmeta.state.ledger.store import Ledger, LedgerStore


def owners(ledger: Ledger, places: dict[str, Place]) -> dict[str, str]:
    """Reserve places; whose those are that could not be had."""
    return {file: " ".join(one.file for one in holders) for file, holders in ledger.reserve(places).items()}


def test_a_place_is_one_files(ledgers: LedgerStore) -> None:
    """While it is worked on and after it was done there; neither case nor Unicode form makes another place."""
    offer(ledgers, candidate("a"), candidate("b"))
    here = {"a": Place("/docs", "Ä.pdf")}
    with ledgers.changing(RULES) as ledger:
        claims = claim(ledger)
        assert owners(ledger, here) == {}
        assert owners(ledger, {"b": Place("/docs", "a\u0308.PDF")}) == {"b": "a"}
        assert owners(ledger, {"b": Place("/other", "Ä.pdf")}) == {}
        ledger.settle([Outcome(claims[0], place=here["a"])], run_id=None, worker=WORKER)
        assert owners(ledger, {"b": Place("/docs", "ä.pdf")}) == {"b": "a"}
    with ledgers.looking() as view:
        assert view.places("job", ["a", "b"]) == here


def test_what_failed_holds_no_place(ledgers: LedgerStore) -> None:
    """The next file may have it."""
    offer(ledgers, candidate("a"), candidate("b"))
    place = Place("/docs", "x.pdf")
    with ledgers.changing(RULES) as ledger:
        first, second = claim(ledger)
        ledger.reserve({"a": place})
        ledger.settle([Outcome(first, "ValueError")], run_id=None, worker=WORKER)
        assert owners(ledger, {"b": place}) == {}
        ledger.settle([Outcome(second, place=place)], run_id=None, worker=WORKER)
    with ledgers.looking() as view:
        assert view.places("job", ["a", "b"]) == {"b": place}


def test_a_later_version_takes_the_place_over(ledgers: LedgerStore) -> None:
    """The earlier one has none any more, also where it is settled after that."""
    offer(ledgers, candidate("old"), candidate("new"))
    place = Place("/docs", "x.pdf")
    with ledgers.changing(RULES) as ledger:
        claims = {entry.file: entry for entry in claim(ledger)}
        assert owners(ledger, {"old": place, "new": place}) == {"new": "old"}
        ledger.settle([Outcome(claims["new"], place=place, over=("old",))], run_id=None, worker=WORKER)
        ledger.settle([Outcome(claims["old"], place=place)], run_id=None, worker=WORKER)
    with ledgers.looking() as view:
        assert view.places("job", ["old", "new"]) == {"new": place}


def test_a_later_version_that_fails_takes_nothing_over(ledgers: LedgerStore) -> None:
    """The earlier one keeps its place, and a stranger does not get it."""
    place = Place("/docs", "x.pdf")
    offer(ledgers, candidate("old"))
    work(ledgers, places={"old": place})
    offer(ledgers, candidate("new"), candidate("stranger"))
    with ledgers.changing(RULES) as ledger:
        claims = {entry.file: entry for entry in claim(ledger)}
        assert owners(ledger, {"new": place, "stranger": place}) == {"new": "old", "stranger": "old"}
        ledger.settle([Outcome(claims["new"], "ValueError", over=("old",))], run_id=None, worker=WORKER)
        assert owners(ledger, {"stranger": place}) == {"stranger": "old"}
    with ledgers.looking() as view:
        assert view.places("job", ["old", "new"]) == {"old": place}


def test_what_is_to_be_undone_holds_its_place_until_it_is(ledgers: LedgerStore) -> None:
    """Else the undoing would remove what has come there meanwhile."""
    rules = replace(RULES, on_delete=ACTION)
    place = Place("/docs", "x.pdf")
    offer(ledgers, candidate("a"), rules=rules)
    work(ledgers, rules=rules, places={"a": place})
    offer(ledgers, candidate("a", deleted=True), candidate("b"), rules=rules)
    with ledgers.changing(rules) as ledger:
        claims = {entry.file: entry for entry in claim(ledger)}
        assert owners(ledger, {"b": place}) == {"b": "a"}
        ledger.settle([Outcome(claims["a"])], run_id=None, worker=WORKER)
        assert owners(ledger, {"b": place}) == {}


def test_names_that_are_swapped_free_each_other(ledgers: LedgerStore) -> None:
    """Both move in one batch."""
    one, two = Place("/docs", "one"), Place("/docs", "two")
    offer(ledgers, candidate("a"), candidate("b"))
    with ledgers.changing(RULES) as ledger:
        claims = claim(ledger)
        ledger.reserve({"a": one, "b": two})
        ledger.settle([Outcome(claims[0], place=one), Outcome(claims[1], place=two)], run_id=None, worker=WORKER)
    offer(ledgers, candidate("a", "2"), candidate("b", "2"))
    with ledgers.changing(RULES) as ledger:
        claims = claim(ledger)
        assert owners(ledger, {"a": two, "b": one}) == {}
        ledger.settle([Outcome(claims[0], place=two), Outcome(claims[1], place=one)], run_id=None, worker=WORKER)
    with ledgers.looking() as view:
        assert view.places("job", ["a", "b"]) == {"a": two, "b": one}


def test_a_place_is_a_whole_path(ledgers: LedgerStore) -> None:
    """However it is divided into folder and name."""
    offer(ledgers, candidate("a"), candidate("b"))
    with ledgers.changing(RULES) as ledger:
        claim(ledger)
        assert owners(ledger, {"a": Place("/docs/x", "y.pdf")}) == {}
        assert owners(ledger, {"b": Place("/docs", "x/y.pdf")}) == {"b": "a"}


def test_forgetting_one_job_keeps_the_place_of_another(ledgers: LedgerStore) -> None:
    """The other has the same file at the same place."""
    place, other = Place("/docs", "x.pdf"), replace(RULES, name="other")
    for rules in (RULES, other):
        offer(ledgers, candidate("a"), candidate("b"), rules=rules)
        with ledgers.changing(rules) as ledger:
            first, _ = claim(ledger)
            ledger.reserve({"a": place})
            ledger.settle([Outcome(first, place=place)], run_id=None, worker=WORKER)
    with ledgers.changing(other) as ledger:
        ledger.forget()
    with ledgers.changing(RULES) as ledger:
        assert owners(ledger, {"b": place}) == {"b": "a"}


def test_of_two_files_at_one_place_one_is_adopted(ledgers: LedgerStore) -> None:
    """The first that was named."""
    place = Place("/docs", "x.pdf")
    offer(ledgers, candidate("a"), candidate("b"))
    with ledgers.changing(RULES) as ledger:
        assert ledger.adopt({"a": place, "b": place}).adopted == 1
    assert statuses(ledgers, "a", "b") == ["done", "pending"]


def test_undoing_gives_the_place_up(ledgers: LedgerStore) -> None:
    """The claim tells where the result is, whatever the action would say now."""
    rules = replace(RULES, on_delete=ACTION)
    place = Place("/docs", "under an old name.pdf")
    offer(ledgers, candidate("a"), rules=rules)
    work(ledgers, rules=rules, places={"a": place})
    offer(ledgers, candidate("a", deleted=True), rules=rules)
    with ledgers.changing(rules) as ledger:
        (undo,) = claim(ledger)
        assert undo.place == place
        ledger.settle([Outcome(undo)], run_id=None, worker=WORKER)
    with ledgers.looking() as view:
        assert view.places("job", ["a"]) == {}


def test_what_is_left_of_an_undoing_that_failed_is_undone_when_the_file_goes_again(ledgers: LedgerStore) -> None:
    """Also if it was back for a while, and nobody had done it yet."""
    rules = replace(RULES, on_delete=ACTION)
    offer(ledgers, candidate("a"), rules=rules)
    work(ledgers, rules=rules, places={"a": Place("/docs", "x.pdf")})
    offer(ledgers, candidate("a", deleted=True), rules=rules)
    assert work(ledgers, "OSError", rules=rules) == ["a failed"]
    offer(ledgers, candidate("a"), rules=rules)
    offer(ledgers, candidate("a", deleted=True), rules=rules)
    with ledgers.changing(rules) as ledger:
        (undo,) = claim(ledger)
    assert (undo.retract, undo.places) == (True, (Place("/docs", "x.pdf"),))


@pytest.mark.parametrize("gone", [True, False])
def test_what_an_overtaken_worker_puts_somewhere_is_known(gone: bool, ledgers: LedgerStore) -> None:
    """It is undone, also where the file was before; where another worker has done it there, it is done anew."""
    rules = replace(RULES, on_delete=ACTION)
    place = Place("/docs", "x.pdf")
    offer(ledgers, candidate("a"), rules=rules)
    with ledgers.changing(rules) as ledger:
        (slow,) = claim(ledger)
        ledger.reserve({"a": place})
        ledger.release([slow])
    assert work(ledgers, rules=rules, places={"a": place}) == ["a done"]
    if gone:
        offer(ledgers, candidate("a", deleted=True), rules=rules)
        assert work(ledgers, rules=rules) == ["a skipped"]
    with ledgers.changing(rules) as ledger:
        (settled,) = ledger.settle([Outcome(slow, place=place)], run_id=None, worker=WORKER)
        assert settled.status == "lost"
        (again,) = claim(ledger)
    assert (again.retract, again.places) == (gone, (place,))
