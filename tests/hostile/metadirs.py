"""What a hostile remote makes of a metadir, and what a client must still be afterwards, whatever it was sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from archives import Archive, everything

from mmmeta import Metadir
from mmmeta.errors import MmmetaError

Forgery = Callable[[sqlite3.Connection], None]
"""Makes something else of a metadata db that was published; nothing in it has to be true."""

OWN = {"imported": True, "note": "read by Ada", "pages_seen": 12, "marks": [1, "two"], "checked": None}
"""What the client sets in every file of ``client_with_own``."""


def client_with_own(archive: Archive) -> None:
    """Publish three files with values of every type, merge them, and set the client's own values."""
    archive.log = False  # what is forged here is meta.db
    for number in range(3):
        archive.write(
            f"f{number}",
            title=f"File {number}",
            pages=number,
            open=number == 1,
            tags=["a"],
            size=2**70,
            more={"x": 1.5},
        )
    archive.deliver()
    for file in archive.client.files:
        file.update(OWN)
        file.save()


def own_values(path: Path) -> dict[str, str]:
    """What the client has set, as a program that opens the metadir anew reads it: written out, for True equals 1."""
    with Metadir(path) as client:
        client.ignore_news()
        if not client.layout.state.exists():
            return {}
        return {
            file.unique_value: repr(sorted(file.local.items()))
            for file in client.files.find(deleted=None)
            if file.local
        }


def forge(meta_db: Path, forgery: Forgery) -> None:
    """Change a metadata db as its owner could, and give it the next revision, of which every row is."""
    with closing(sqlite3.connect(meta_db)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        forgery(connection)
        connection.commit()


def sql_of(*statements: str, revision: bool = True) -> Forgery:
    """These statements; then the next revision, so that all rows are read as changes."""

    def forgery(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)
        if revision:
            next_revision(connection)

    return forgery


def next_revision(connection: sqlite3.Connection) -> None:
    """Take the next revision for all rows, so that all of them are read as changes."""
    connection.execute("UPDATE info SET value = value + 1 WHERE name = 'revision'")
    (revision,) = connection.execute("SELECT value FROM info WHERE name = 'revision'").fetchone()
    connection.execute("UPDATE files SET __rev = ?", (revision,))
    connection.execute(
        "INSERT OR REPLACE INTO revisions SELECT ?, value, '2026-01-01T00:00:00.000000+00:00', 0, 1, 0, 0 FROM info "
        "WHERE name = 'digest'",
        (revision,),
    )


@contextmanager
def one_clear_error() -> Iterator[None]:
    """Nothing is raised, or an error of mmmeta's, in one line that a terminal shows."""
    try:
        yield
    except MmmetaError as error:
        text = str(error)
        assert len(text) < 1_000, text
        assert "\n" not in text
        assert all(sign.isprintable() for sign in text), text


def survives(archive: Archive, attack: Callable[[], object]) -> None:
    """After an attack on the client's copy: its own values and everything outside the metadir are as before, every verb
    says one clear thing, and the next honest publication is merged."""
    before = own_values(archive.client_path)
    outside = everything_outside(archive)
    attack()
    with Metadir(archive.client_path) as client:
        for verb in (client.update, client.inspect, lambda: [dict(file) for file in client.files]):
            with one_clear_error(), pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONWARNINGS", "ignore")
                client.ignore_news()
                verb()
    assert own_values(archive.client_path) == before
    assert everything_outside(archive) == outside
    archive.write("f1", title="an honest change", pages=7)
    archive.publish()
    with Metadir(archive.client_path) as client:
        client.update(replace=True, accept_older=True)
        client.update()
        assert client.check().problems == 0
        assert {file.unique_value for file in client.files} == {"f0", "f1", "f2"}
    assert own_values(archive.client_path) == before


def everything_outside(archive: Archive) -> dict[str, bytes]:
    """All files that no metadir is asked to change."""
    found = everything(archive.root)
    return {name: content for name, content in found.items() if not name.startswith(("client/_mmmeta", "server"))}
