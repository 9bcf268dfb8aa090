"""A project file whose `state:` line is gone again: the file here was a client's copy, and its ledger knows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive
from postgres import emptied_server

from mmmeta import Metadir
from mmmeta.errors import StateDbError
from mmmeta.layout import Layout
from mmmeta.state.copying import copy_state

pytestmark = pytest.mark.services

WHERE = r"what jobs have done is not in .*state\.db but in the PostgreSQL that `state:` named before: name it again, or bring"


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Its state is in a file."""
    made = Archive(tmp_path)
    for name in "ab":
        made.write(name)
    made.deliver()
    yield made
    made.close()


def work(client: Metadir) -> int:
    return client.job("job").run(lambda file: None).done


def refused(client: Metadir) -> None:
    """By whatever asks the ledger, the first time and the next."""
    for ask in (
        client.update,
        client.status,
        client.job("job").evaluate,
        lambda: work(client),
        lambda: client.job("job").claim(1),
        lambda: client.job("job").retry(),
    ):
        with pytest.raises(StateDbError, match=WHERE) as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("knows_jobs", [False, True])
def test_an_old_ledger_is_not_gone_on_with(archive: Archive, url: str, knows_jobs: bool) -> None:
    """Files that were done in PostgreSQL would be done again. What the files say is read as ever, and named again it is
    used as ever."""
    here = archive.client_path
    if knows_jobs:
        assert work(archive.client) == 2
        copy_state(Layout.at(here), Layout.at(here, None, url))
    archive.client.close()
    with Metadir(here, state=url) as shared:
        shared.update()
        assert work(shared) == (0 if knows_jobs else 2)
    with Metadir(here) as client:
        refused(client)
        assert len(list(client.files)) == 2
    with Metadir(here, state=url) as shared:
        assert work(shared) == 0


def test_brought_back_by_a_copy_it_goes_on(archive: Archive, url: str, tmp_path: Path) -> None:
    """Into another file, or into this one where it knows no jobs."""
    here = archive.client_path
    with Metadir(here, state=url) as shared:
        shared.update()
        assert work(shared) == 2
    for state in (str(tmp_path / "brought.db"), None):
        copy_state(Layout.at(here, None, url), Layout.at(here, None, state))
        with Metadir(here, state=state) as client:
            client.update()
            assert work(client) == 0
            assert client.status().jobs["job"].done == 2


def test_whoever_removes_the_copy_begins_anew(archive: Archive, url: str) -> None:
    """That says what it does."""
    here = archive.client_path
    with Metadir(here, state=url) as shared:
        shared.update()
        assert work(shared) == 2
    (here / "_mmmeta" / "local" / "state.db").unlink()
    with Metadir(here) as client:
        client.update()
        assert work(client) == 2
