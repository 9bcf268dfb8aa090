"""Old metadirs that are torn, half there, mixed or none at all: a clear error or a clear list, and nothing is touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from archives import everything
from click.testing import CliRunner, Result
from old_versions import unpack

from mmmeta import Metadir
from mmmeta.cli import main
from mmmeta.cli.problems import WITH_PROBLEMS
from mmmeta.errors import LegacyMetadirError
from mmmeta.legacy import csvs, databases, reading
from mmmeta.legacy.migrate import MIGRATED
from mmmeta.legacy.store import UNFIT
from mmmeta.store.store import LARGEST


def run(base: Path, *words: str, code: int = 0) -> Result:
    """``mmmeta migrate`` as a person types it."""
    result = CliRunner().invoke(main, ["--metadir", str(base), "migrate", *words])
    assert result.exit_code == code, result.output
    return result


def refused(base: Path, *said: str) -> None:
    """It is refused with these words, in a line, and nothing is written."""
    before = everything(base), sorted(base.rglob("*"))
    result = run(base, code=1)
    for words in said:
        assert words in result.output
    assert result.output.count("\n") == 1
    assert (everything(base), sorted(base.rglob("*"))) == before


def old(tmp_path: Path, version: str, side: str = "client") -> Path:
    """The base path of one that a real version made."""
    unpack(version, tmp_path / version)
    return tmp_path / version / side


def settle(path: Path) -> None:
    """Put the log into the database, as closing it would, and leave no log."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")


def sql(path: Path, *statements: str) -> None:
    """Change an old database."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It says what would be."""
    for version in ("0.3.3", "0.4.4"):
        base = old(tmp_path, version)
        before = everything(base), sorted(base.rglob("*"))
        result = run(base, "--dry-run")
        assert "would become one of today, a client" in result.output
        assert "9 files" in result.output
        assert "dry run, nothing written" in result.output
        assert (everything(base), sorted(base.rglob("*"))) == before


def test_a_second_time_does_no_harm(tmp_path: Path) -> None:
    """What is there is left, and said."""
    base = old(tmp_path, "0.4.4")
    run(base)
    with Metadir(base / MIGRATED) as m:
        file = m.files.find_one(content_hash="a" * 8)
        assert file is not None
        file["more"] = 1
        file.save()
    refused(base, "is there already, made by an earlier migrate: nothing was done")


def test_after_the_switch_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    """The lines that it prints lead there."""
    base = old(tmp_path, "0.4.4")
    said = run(base).output.partition("next:\n")[2].splitlines()
    for line in said[:2]:
        subprocess.run(line, shell=True, check=True)
    assert sorted(path.name for path in base.iterdir()) == ["_mmmeta", "_mmmeta.old"]
    with Metadir(base) as m:
        assert m.files.count(imported=True) == 2
    assert said[-1].strip() == f"mmmeta --metadir {base} jobs adopt JOB --where imported=true"
    refused(base, "is a metadir of this version: there is nothing to migrate")


def test_what_is_no_old_metadir_is_said(tmp_path: Path) -> None:
    """Nothing, an empty one, one of today, another program's."""
    refused(tmp_path, "there is no metadir at")
    (tmp_path / "empty" / "_mmmeta").mkdir(parents=True)
    refused(tmp_path / "empty", "holds nothing of mmmeta 0.1-0.4: no meta.db, no state.db, no CSVs in db/")
    with Metadir(tmp_path / "today") as m:
        m.files.insert(content_hash="a")
    refused(tmp_path / "today", "is a metadir of this version")
    other = tmp_path / "other" / "_mmmeta"
    other.mkdir(parents=True)
    sql(other / "meta.db", "CREATE TABLE notes (text TEXT)")
    refused(tmp_path / "other", "is of another program (tables: notes)")
    refused(other, "is the metadir itself: name the folder that holds it")


def test_a_torn_database_is_named(tmp_path: Path) -> None:
    """Cut, no database, damaged, a link, a folder."""
    base = old(tmp_path, "0.3.3")
    for name in ("meta.db", "state.db"):
        path = base / "_mmmeta" / name
        settle(path)
        whole = path.read_bytes()
        for torn in (whole[: len(whole) // 2], whole[:50], b"no database" * 500, whole[:4096] + b"\xff" * 8192):
            path.write_bytes(torn)
            refused(base, str(path), "restore it from a backup")
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere.db")
        refused(base, str(path), "is a link")
        path.unlink()
        path.mkdir()
        refused(base, str(path))
        path.rmdir()
        path.write_bytes(whole)
    run(base)


def test_a_database_without_its_log_is_named(tmp_path: Path) -> None:
    """A sync that left out the log has brought an empty file: what it was merged with is not there."""
    base = old(tmp_path, "0.3.3")
    (base / "_mmmeta" / "meta.db-wal").unlink()
    refused(base, "state.db was merged with metadata that is not there", "meta.db-wal")
    server = old(tmp_path / "other", "0.3.3", "server")
    (server / "_mmmeta" / "meta.db-wal").unlink()
    refused(server, "meta.db has no tables: its write-ahead log (meta.db-wal) did not come along")


def test_only_inserted_files_are_a_servers(tmp_path: Path) -> None:
    """A scraper that inserted wrote the state db, and nobody ever published anything."""
    base = old(tmp_path, "0.3.3")
    metadir = base / "_mmmeta"
    (metadir / "meta.db").unlink()
    (metadir / "meta.db-wal").unlink()
    sql(
        metadir / "state.db",
        "DELETE FROM files WHERE __meta_added IS NOT NULL",
        "UPDATE files SET __state_deleted = NULL",
    )
    result = run(base)
    assert "a server" in result.output
    assert "2 only in the old state db" in result.output
    with Metadir(base / MIGRATED) as m:
        assert m.is_server
        assert {file["title"] for file in m.files} == {"by hand"}


def test_server_and_client_in_one(tmp_path: Path) -> None:
    """Which one writes metadata nobody can see; a person says it."""
    base = old(tmp_path, "0.4.4")
    result = run(base, "--server", "--json")
    report = json.loads(result.output)
    assert (report["is_server"], report["is_client"]) == (True, True)
    with Metadir(base / MIGRATED) as m:
        m.files.insert(content_hash="new")
        assert m.files.count(imported=True) == 2


def test_the_csvs_of_an_upgrade_outdo_the_database(tmp_path: Path) -> None:
    """Who went from 0.3 to 0.4 has both, and what only the database has is kept."""
    base, other = old(tmp_path, "0.4.4"), old(tmp_path, "0.3.3", "server")
    for path in (other / "_mmmeta").glob("meta.db*"):
        shutil.copy(path, base / "_mmmeta")
    sql(
        base / "_mmmeta" / "meta.db",
        "UPDATE files SET title = 'older'",
        "INSERT INTO files (content_hash, title) VALUES ('only', 'x')",
    )
    result = run(base)
    assert f"{reading.OLDER}: 1 (only)" in result.output
    with Metadir(base / MIGRATED) as m:
        assert m.files.count(title="older") == 0
        assert m.files.count(content_hash="only") == 1


def test_a_sync_has_brought_the_metadata_of_today(tmp_path: Path) -> None:
    """The server was migrated first: what the client has set comes along, and no verb passes over it."""
    unpack("0.4.4", tmp_path / "0.4.4")
    server, client = (tmp_path / "0.4.4" / side for side in ("server", "client"))
    run(server)
    ignored = shutil.ignore_patterns("local")
    shutil.copytree(server / MIGRATED / "_mmmeta", client / "_mmmeta", ignore=ignored, dirs_exist_ok=True)
    with Metadir(client) as m, pytest.raises(LegacyMetadirError, match="mmmeta migrate"):
        m.update()
    result = run(client, code=3)
    assert f"{reading.NOT_TODAYS}: 2 (hand, hand2)" in result.output
    with Metadir(client / MIGRATED) as m:
        assert not m.is_server
        assert not m.is_outdated
        assert {file.unique_value[0] for file in m.files.find(imported=True, deleted=None)} == set("adg")
        with Metadir(server / MIGRATED) as published:
            assert m.revision == published.revision
    (client / "_mmmeta" / "local").mkdir()
    shutil.copy(client / MIGRATED / "_mmmeta" / "local" / "state.db", client / "_mmmeta" / "local")
    (client / MIGRATED).rename(tmp_path / "away")
    refused(client, "there is a state db of today")


def test_csvs_of_every_kind(tmp_path: Path) -> None:
    """Rows that were cut, files without the column, empty ones: named, and the rest goes on."""
    base = old(tmp_path, "0.4.2", "server")
    folder = base / "_mmmeta" / "db"
    (folder / "9999-01-01T00:00:00.append").write_text("title,__mmmeta_keys\nx,title\n")
    (folder / "9999-01-02T00:00:00.append").write_text("")
    (folder / "9999-01-03T00:00:00.append").write_text(
        'content_hash,title,"with, comma",__mmmeta_keys\n'
        'aaaaaaaa,"new\ntitle",x,"title,with, comma"\n,nameless,,title\ncut,o\nnew,,,title\n'
    )
    result = run(base, code=3)
    for words in (csvs.NO_UNIQUE, csvs.EMPTY, csvs.TORN, databases.NAMELESS):
        assert f"{words}: 1 (9999-01-0" in result.output
    with Metadir(base / MIGRATED) as m:
        file = m.files.find_one(content_hash="a" * 8)
        assert file is not None
        assert (file["title"], file["with, comma"]) == ("new\ntitle", "x")
        assert m.files.count(content_hash="new") == 1


@pytest.mark.parametrize(
    "content", [b"content_hash,title\n\xff\xfe,x\n", b'content_hash\n"open\n', b"content_hash\na\0\n"]
)
def test_a_csv_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    """Which changes it held nobody knows, and what comes after it may depend on them."""
    base = old(tmp_path, "0.4.4", "server")
    path = base / "_mmmeta" / "db" / "9999-01-01T00:00:00.append"
    path.write_bytes(content)
    if content.endswith(b"\0\n") and sys.version_info >= (3, 11):
        run(base)  # csv reads it by now
    else:
        refused(base, str(path), "cannot be read as CSV")


def test_a_config_decides_what_identifies_files(tmp_path: Path) -> None:
    """One that cannot be read, or names what no file has, is an error; what it says beyond today's is listed."""
    base = old(tmp_path, "0.4.4", "server")
    config = base / "_mmmeta" / "config.yml"
    config.write_text("metadata: [\n")
    refused(base, str(config))
    config.write_text("- a\n")
    refused(base, str(config), "needs keys at its top")
    config.write_text("metadata:\n  unique: nowhere\n")
    refused(base, "has a column 'nowhere'", "metadata.unique")
    config.write_text(
        "metadata:\n  unique: content_hash\n  dedup: true\n  required: title\n  include: [title, 'headers:content_type']\n"
        "public: {url: 'https://example.org/{_file_name}', 'no name': x}\nfiles: 3\n"
    )
    result = run(base)
    assert "metadata.dedup, files" in result.output
    assert "public.no name" in result.output
    with Metadir(base / MIGRATED) as m:
        assert m.config.metadata.required == ("title",)
        assert m.config.metadata.include == ("title", "headers:content_type", "headers:content-type")
        assert m.config.remote == {"url": "https://example.org/{_file_name}"}


def test_no_config_means_content_hash(tmp_path: Path) -> None:
    """As it did then."""
    base = old(tmp_path, "0.3.1", "server")
    (base / "_mmmeta" / "config.yml").unlink()
    run(base)
    assert not (base / MIGRATED / "_mmmeta" / "config.yml").exists()


def test_another_unique(tmp_path: Path) -> None:
    """Also where it holds numbers, and where several rows share it."""
    base = old(tmp_path, "0.1.1", "server")
    (base / "_mmmeta" / "config.yml").write_text("metadata: {unique: pages}\n")
    sql(
        base / "_mmmeta" / "meta.db",
        "UPDATE files SET pages = 12 WHERE content_hash = 'bbbbbbbb'",
        "UPDATE files SET pages = NULL WHERE content_hash = 'cccccccc'",
    )
    result = run(base, code=3)
    assert f"{databases.TWICE}: 1 (12)" in result.output
    assert f"{databases.NAMELESS}: 1 (meta.db)" in result.output
    with Metadir(base / MIGRATED) as m:
        assert m.files.count(pages=12) == 1
        assert m.files.count() == 5


def test_a_client_that_corrected_metadata_keeps_that(tmp_path: Path) -> None:
    """The old state db has only one column for both."""
    base = old(tmp_path, "0.3.3")
    sql(base / "_mmmeta" / "state.db", "UPDATE files SET title = 'corrected' WHERE content_hash = 'aaaaaaaa'")
    result = run(base)
    assert f"{databases.SHADOWS}: 1 (title)" in result.output
    with Metadir(base / MIGRATED) as m:
        file = m.files.find_one(content_hash="a" * 8)
        assert file is not None
        assert (file["title"], file.meta["title"][:2]) == ("corrected", "A,")


def test_flags_that_are_numbers_stay_so_and_are_told(tmp_path: Path) -> None:
    """``file["done"] = 1``."""
    base = old(tmp_path, "0.3.3")
    sql(base / "_mmmeta" / "state.db", "ALTER TABLE files ADD COLUMN done BIGINT", "UPDATE files SET done = 1")
    result = run(base)
    assert f"{databases.FLAGS}: 9 (done)" in result.output
    with Metadir(base / MIGRATED) as m:
        assert m.files.count(done=1) == 7


def test_the_store_comes_along_as_text_that_stays_the_same(tmp_path: Path) -> None:
    """What cannot is named."""
    base = old(tmp_path, "0.2.1")
    store = base / "_mmmeta" / "_store"
    (store / "empty").write_text("")
    (store / "seen_last_updated").write_text("")
    (store / ".hidden").write_text("x")
    (store / "word").write_text("True")
    (store / "a_link").symlink_to(store / "word")
    (store / "large").write_bytes(b"x" * (LARGEST + 1))
    for options in (["--dry-run"], []):
        result = run(base, *options, code=WITH_PROBLEMS)
        assert f"{UNFIT}: 3 (.hidden, a_link, large)" in result.output
    with Metadir(base / MIGRATED) as m:
        assert (m.store["empty"], m.store["word"], m.store["new_files"]) == ("", "True", 17)
        assert "seen_last_updated" not in m.store


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The new one lies beside the old one."""
    base = old(tmp_path, "0.4.4", "server")
    (base / f".{MIGRATED}.part").write_text("a leftover")
    run(base)
    if os.getuid() == 0:
        return
    base.chmod(0o555)
    refused(base, "cannot be made")


def test_a_killed_migration_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """Killed at any moment: the next one makes it whole, and the old one is as it was."""
    base = old(tmp_path, "0.4.4")
    before = everything(base / "_mmmeta")
    words = [sys.executable, "-m", "mmmeta", "--metadir", str(base), "migrate"]
    for seconds in (0.3, 0.5, 0.7, 0.9, 1.1):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (base / MIGRATED).exists():
            break
    else:
        run(base)
    assert everything(base / "_mmmeta") == before
    assert not (base / f".{MIGRATED}.part").exists()
    with Metadir(base / MIGRATED) as m:
        assert m.files.count(imported=True, deleted=None) == 3
        assert m.check().problems == 0
