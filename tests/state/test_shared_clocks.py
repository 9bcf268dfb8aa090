"""A ledger in PostgreSQL keeps moments by the server's clock, whatever the clock of who asks says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from archives import SettableClock
from postgres import emptied_server
from test_shared_ledger import RULES, offer

from mmmeta.documents.hosts import Closed
from mmmeta.state.ledger.outcomes import Outcome, Postponed
from mmmeta.state.ledger.postgresql.server import Server
from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore

pytestmark = pytest.mark.services

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["slow", "fast"])
def test_what_waits_for_a_moment(
    tmp_path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """A file that is due later and a host that is not to be asked: the one who said so reads what it has said, and others, whose
    clock is right, the same moment."""
    store = PostgresLedgerStore(emptied_server(), tmp_path / "workers", clock, None)
    offer(store, "a", "b")
    until, now = clock() + timedelta(minutes=5), clock()
    with monkeypatch.context() as wrong:
        wrong.setattr(Server, "ahead", ahead)
        with store.changing(RULES) as ledger:
            (claim,) = ledger.claim(1, worker="lease/1", run_id=None, lease=600)
            postponed = Outcome(claim, "Postponed", "busy", postponed=Postponed(until, False))
            assert ledger.settle([postponed], run_id=None, worker="lease/1")[0].status == "postponed"
            ledger.note_hosts({"example.org": Closed(until.timestamp(), 1, "is busy"), "example.com": None})
        with store.looking() as view:
            assert [waiting.until for waiting in view.waiting("job")] == [until]
            assert view.hosts()["example.org"].until == until.timestamp()
            assert view.oldest_pending("job") == now - ahead
            status = view.status("job", now)
            assert status is not None
            assert (status.due, status.earliest_due) == (1, until)
            assert view.due("job", now, descending=False) == ["b"]
            assert view.due("job", until, descending=False) == ["a", "b"]
    with store.looking() as view:
        assert [waiting.until for waiting in view.waiting("job")] == [until + ahead]
        assert view.hosts()["example.org"].until == (until + ahead).timestamp()
    store.close()


def test_a_small_difference_is_none(tmp_path: Path, clock: SettableClock) -> None:
    """What the network's moods make of clocks that agree."""
    store = PostgresLedgerStore(emptied_server(), tmp_path / "workers", clock, None)
    offer(store, "a")
    assert store._server.ahead == timedelta()
    store.close()
