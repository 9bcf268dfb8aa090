"""A copy into PostgreSQL that was killed before it had begun to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from archives import Archive
from postgres import emptied_server
from test_copying import copied, end, work

from mmmeta import Metadir
from mmmeta.errors import StateDbError
from mmmeta.state.copying import copy_state

pytestmark = pytest.mark.services


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def worked(archive: Archive) -> Archive:
    work(archive)
    return archive


def test_a_copy_that_is_killed_at_its_very_beginning(
    worked: Archive, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has made by then is no empty ledger that anybody would work with; the next copy takes it."""

    class KilledError(Exception):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("mmmeta.state.ledger.postgresql.transfer.write_entry", kill)
        with pytest.raises(KilledError):
            copied(worked.client, url)
    with Metadir(worked.client_path, state=url) as other:
        for use in (other.status, lambda: other.job("get").run(print), other.history):
            with pytest.raises(StateDbError, match=r"holds a part of a ledger: copying it from .* was broken off"):
                use()
    with pytest.raises(StateDbError, match="is itself what a copy has left"):
        copy_state(end(worked.client, url), end(worked.client, tmp_path / "b.db"))
    copied(worked.client, url)
    with Metadir(worked.client_path, state=url) as other:
        assert other.status().jobs["get"].done == 5
