"""A client's folder that may only be read: all that is there can be looked at."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import Archive
from click.testing import CliRunner

from mmmeta import Metadir
from mmmeta.cli import main
from mmmeta.errors import StateDbError

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="mmmeta-read-only-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _as_nobody(look: Callable[[], None]) -> None:
    """Call it in a process whose user may write nothing here; root may write everywhere."""
    child = os.fork()
    if not child:
        failed = True
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            look()
            failed = False
        except (Exception, pytest.fail.Exception):
            traceback.print_exc()
        finally:
            os._exit(int(failed))
    assert os.waitpid(child, 0)[1] == 0, "see the traceback above"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write here")
@pytest.mark.parametrize("left", [(), ("-shm",), ("-wal",), ("-wal", "-shm")], ids=str)
def test_what_was_merged_is_read_where_nothing_can_be_written(folder: Path, left: tuple[str, ...]) -> None:
    """Whatever of the empty files of the write-ahead log is there; reading makes none of them."""
    archive = Archive(folder)
    archive.write("a", n=1)
    archive.deliver()
    archive.client.check()  # imports what nobody may not be able to read
    archive.client.history()
    archive.close()
    state = archive.client.layout.state
    with sqlite3.connect(state) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("SELECT count(*) FROM files").fetchone()
        if "-shm" in left:
            shutil.copy(f"{state}-shm", folder / "kept")
    connection.close()
    if "-shm" in left:
        shutil.copy(folder / "kept", f"{state}-shm")
    if "-wal" in left:
        Path(f"{state}-wal").touch()
    before = {path.name: path.stat().st_size for path in state.parent.iterdir()}

    def look() -> None:
        with Metadir(archive.client_path) as client:
            assert client.status().revision == 1
            assert [dict(file) for file in client.files] == [{"content_hash": "a", "n": 1}]
            assert not client.check().problems
            assert client.inspect().state_db is not None
            assert not client.inspect().problems
            assert not client.history()
            file = client.files.get("a")
            assert file is not None
            file["seen"] = True
            with pytest.raises(StateDbError, match="check the permissions"):
                file.save()

    _as_nobody(look)
    assert {path.name: path.stat().st_size for path in state.parent.iterdir()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write here")
def test_a_log_that_cannot_be_read_without_writing_is_named_as_such(folder: Path) -> None:
    """What is in it must not be passed over; and nobody who reads is told about writing."""
    archive = Archive(folder)
    archive.write("a")
    archive.deliver()
    state = archive.client.layout.state
    log = state.with_name(state.name + "-wal")
    with archive.client._backend.state.database.reading():  # keeps the log from being taken away
        shutil.copy(log, folder / "kept")
    archive.close()
    shutil.copy(folder / "kept", log)
    assert log.stat().st_size

    def look() -> None:
        with Metadir(archive.client_path) as client, pytest.raises(StateDbError) as raised:
            client.status()
        assert "cannot be opened for reading" in str(raised.value)
        assert "write" not in str(raised.value)

    _as_nobody(look)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write here")
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("option", [(), ("--exclusive",)], ids=str)
def test_a_run_that_may_not_write_says_where(folder: Path, first: bool, option: tuple[str, ...]) -> None:
    """One line with path and remedy, whether somebody else has run here before or not; in Python as well."""
    archive = Archive(folder)
    archive.write("a")
    archive.deliver()
    archive.client.job("look").run(lambda file: None)
    archive.close()
    words = ["--metadir", str(archive.client_path), "run", *option]
    assert CliRunner().invoke(main, words).exit_code == 0  # imports what nobody may not be able to read
    local = archive.client_path / "_mmmeta" / "local"
    if first:
        shutil.rmtree(local)

    def look() -> None:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert str(local / "run.lock") in line or (first and str(local) in line)
        assert "cannot be written: Permission denied" in line
        assert "check the permissions" in line
        if not first:
            with Metadir(archive.client_path) as client, pytest.raises(StateDbError, match="check the permissions"):
                client.job("look").run(lambda file: None)

    _as_nobody(look)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write here")
def test_a_run_with_the_state_db_elsewhere_needs_no_writable_metadir(folder: Path) -> None:
    """What belongs to the state db lies beside it, locks and all."""
    archive = Archive(folder)
    archive.write("a")
    archive.deliver()
    archive.client.job("look").run(lambda file: None)
    words = ["--metadir", str(archive.client_path), "run", "--exclusive"]
    assert CliRunner().invoke(main, words).exit_code == 0  # imports what nobody may not be able to read
    archive.close()
    state = folder / "mine"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)

    def look() -> None:
        path = str(state / "state.db")
        with Metadir(archive.client_path, state=path) as client:
            assert client.update().added == 1
            assert client.job("look").run(lambda file: None).done == 1
        os.environ["MMMETA_STATE"] = path
        assert CliRunner().invoke(main, words).exit_code == 0

    _as_nobody(look)
