"""Metadirs of mmmeta 0.1-0.4: recognised by every verb, named, and never written into."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import Archive, everything
from click.testing import CliRunner

from mmmeta import File, Metadir
from mmmeta.cli import main
from mmmeta.errors import FormatError, LegacyMetadirError


def old_database(path: Path, *, closed: bool = True) -> sqlite3.Connection:
    """A database as mmmeta 0.1-0.3 made them, in WAL mode; one that is not closed has everything in its log."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, content_hash TEXT, title TEXT)")
    connection.execute("INSERT INTO files VALUES (1, 'a', 'A')")
    if closed:
        connection.close()
    return connection


def server_of_0_3(metadir: Path) -> None:
    """Only a metadata db."""
    old_database(metadir / "meta.db")


def client_of_0_3(metadir: Path) -> None:
    """With a state db, and a config.yml whose keys this version does not know."""
    for name in ("meta.db", "state.db"):
        old_database(metadir / name)
    (metadir / "config.yml").write_text("metadata:\n  unique: content_hash\n  dedup: true\npublic: {url: x}\n")


def half_synced(metadir: Path) -> None:
    """The metadata db came without its log."""
    elsewhere = metadir.parent.parent / "elsewhere.db"
    connection = old_database(elsewhere, closed=False)
    (metadir / "meta.db").write_bytes(elsewhere.read_bytes())
    connection.close()


def with_its_log(metadir: Path) -> None:
    """What a program that was killed leaves."""
    elsewhere = metadir.parent.parent / "elsewhere.db"
    connection = old_database(elsewhere, closed=False)
    for suffix in ("", "-wal"):
        (metadir / f"meta.db{suffix}").write_bytes(elsewhere.with_name(elsewhere.name + suffix).read_bytes())
    connection.close()


def metadir_of_0_4(metadir: Path) -> None:
    """A log of CSVs, and a state db at a client."""
    (metadir / "db").mkdir()
    (metadir / "db" / "2023-01-01T00:00:00.append").write_text("content_hash\na\n")
    old_database(metadir / "state.db")


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "server of 0.3": (server_of_0_3, r"meta\.db was written by mmmeta 0\.1-0\.4"),
    "client of 0.3": (client_of_0_3, r"meta\.db was written by mmmeta 0\.1-0\.4"),
    "without its log": (half_synced, r"without its write-ahead log \(meta\.db-wal\)"),
    "with its log": (with_its_log, r"its tables are still in meta\.db-wal"),
    "0.4": (metadir_of_0_4, r"_mmmeta was written by mmmeta 0\.1-0\.4"),
}


@pytest.fixture(params=KINDS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """The base path of an old metadir, and what is said of it."""
    make, said = KINDS[request.param]
    base = tmp_path / "archive"
    metadir = base / "_mmmeta"
    (metadir / "_store").mkdir(parents=True)
    (metadir / "_store" / "kept").write_text("1")
    (metadir / "_store" / "remote_last_updated").write_text("2023-01-01T00:00:00")
    (base / "a.json").write_text('{"content_hash": "a"}')
    make(metadir)
    return base, said


def paths(folder: Path) -> list[Path]:
    """Everything below a folder, empty folders included."""
    return sorted(folder.rglob("*"))


def nothing(file: File) -> None: ...


VERBS: dict[str, Callable[[Metadir], object]] = {
    "generate": lambda m: m.generate(),
    "replace": lambda m: m.generate(replace=True),
    "insert": lambda m: m.files.insert(content_hash="x"),
    "update": lambda m: m.update(),
    "find": lambda m: list(m.files),
    "set": lambda m: m.store.update(x=1),
    "set local": lambda m: m.store.update(local_x=1),
    "touch": lambda m: m.touch("x_last_updated"),
    "pop": lambda m: m.store.pop("kept"),
    "del": lambda m: m.store.__delitem__("kept"),
    "run": lambda m: m.job("look").run(nothing),
    "status": lambda m: m.status(),
    "check": lambda m: m.check(),
}


@pytest.mark.parametrize("server", [True, False], ids=["meant", "not meant"])
def test_no_verb_writes_into_an_old_metadir(old: tuple[Path, str], server: bool) -> None:
    """Each says what it is."""
    base, said = old
    before, there = everything(base), paths(base)
    with Metadir(base, server=server) as m:
        for verb in VERBS.values():
            with pytest.raises(LegacyMetadirError, match=said):
                verb(m)
        assert m.store["kept"] == 1
        inspection = m.inspect()
    assert inspection.is_legacy
    assert said.replace("\\", "") in inspection.problems[0]
    assert len(inspection.problems) == 1
    assert (everything(base), paths(base)) == (before, there)


@pytest.mark.parametrize(
    "verb",
    [
        *("generate", "update", "run", "run --exclusive", "status", "check", "find", "dump"),
        *("store set x 1", "store set local_x 1", "store touch x"),
    ],
)
def test_no_command_writes_into_an_old_metadir(old: tuple[Path, str], verb: str) -> None:
    """And the first thing that is said is the cause."""
    base, said = old
    before, there = everything(base), paths(base)
    result = CliRunner().invoke(main, ["--metadir", str(base), *verb.split()])
    assert result.exit_code == 1
    assert said.replace("\\", "") in result.output
    assert "`mmmeta migrate` makes a metadir of today beside it" in result.output
    assert (everything(base), paths(base)) == (before, there)


def test_a_state_db_elsewhere_lets_nobody_work_in_an_old_metadir(
    archive_with_state: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its jobs have nothing to say there: the locks of their workers would lie in the metadir."""
    base, state = archive_with_state
    for path in (base / "_mmmeta").rglob("*"):
        if path.is_file():
            path.unlink()
    server_of_0_3(base / "_mmmeta")
    before = everything(base)
    with Metadir(base, state=state) as m, pytest.raises(LegacyMetadirError, match=r"0\.1-0\.4"):
        m.job("look").run(nothing)
    assert everything(base) == before


@pytest.fixture
def archive_with_state(tmp_path: Path) -> tuple[Path, Path]:
    """A metadir that is merged into a state db elsewhere."""
    base, state = tmp_path / "base", tmp_path / "elsewhere.db"
    with Metadir(base, state=state, server=True) as m:
        base.mkdir()
        m.files.insert(content_hash="a")
        m.update()
    return base, state


def test_a_metadata_db_of_a_development_version_is_named(archive: Archive) -> None:
    """It lacks a column, and is no damage; it had no change log."""
    archive.log = False
    archive.write("a")
    archive.publish()
    archive.server.close()
    for path in (archive.server.layout.meta_db, archive.client.layout.meta_db):
        connection = sqlite3.connect(path)
        connection.execute("ALTER TABLE files DROP COLUMN __derived")
        connection.close()
    for verb in (archive.server.generate, archive.client.update):
        with pytest.raises(FormatError, match="before the first release: move it away"):
            verb()
