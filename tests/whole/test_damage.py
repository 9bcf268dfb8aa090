"""Databases that a disk or a sync has damaged: thrown away where they are only a memory, else one clear error."""

from __future__ import annotations

import itertools
import shutil
import warnings
from collections.abc import Callable

import pytest
from archives import Archive
from damage import COPIES, damaged_copies

from mmmeta import Metadir
from mmmeta.errors import MmmetaError, OutdatedWarning, StateDbError


@pytest.fixture(autouse=True)
def by_meta_db(request: pytest.FixtureRequest) -> None:
    """These are about meta.db: no change log stands in for it."""
    if "archive" in request.fixturenames:
        request.getfixturevalue("archive").log = False


def fill(archive: Archive) -> None:
    """Metadata files with values of all kinds, in folders."""
    for number in range(60):
        archive.write(
            f"folder-{number % 3}/file-{number}",
            title=f"Straßenbau {number} " + "x" * (number * 7 % 90),
            n=number,
            ratio=number / 7,
            big=2**70 + number,
            public=bool(number % 2) if number % 5 else None,
            topics=["road", {"deep": [number, None]}],
            publisher={"name": "ministry", "empty": {}},
            mixed=[str(number), number, True, None, [number]][number % 5],
        )


def test_a_damaged_scan_db_is_thrown_away_and_everything_read(archive: Archive) -> None:
    """It never stops a generate, never hides a change, and never deletes a file."""
    fill(archive)
    archive.server.generate()
    scan_db = archive.server.layout.scan_db
    sound = scan_db.read_bytes()
    for number, (how, broken) in enumerate(damaged_copies(sound, "scan.db", 2 * COPIES)):
        scan_db.write_bytes(broken)
        archive.write("folder-1/file-1", n=1_000 + number)
        report = archive.server.generate(ensure=True)
        assert (report.changed, report.added, report.deleted, report.problem_count) == (1, 0, 0, 0), how
        assert archive.server.generate().revision == report.revision, how
        assert archive.server.files.count() == 60, how
        found = archive.server.files.get("folder-1/file-1")
        assert found is not None
        assert found["n"] == 1_000 + number, how


def try_everything(metadir: Metadir, *verbs: str) -> list[str]:
    """Call these verbs; each does its work or raises one clear error of ours that names a file. Returns the errors."""
    errors = []
    for verb in verbs:
        try:
            VERBS[verb](metadir)
        except MmmetaError as error:
            errors.append(f"{verb}: {type(error).__name__}: {error}")
    assert [error for error in errors if "_mmmeta" not in error or "\n" in error] == []
    return errors


def run_job(metadir: Metadir) -> None:
    """With an end: where the ledger's indexes contradict it, a run could claim the same files for ever."""
    asked = itertools.count()
    metadir.job("numbers", where={"n": {">=": 0}}).run(lambda file: None, stop=lambda: next(asked) > 500)


def save(metadir: Metadir) -> None:
    file = metadir.files.find_one()
    if file is not None:
        file["seen"] = True
        file.save()


VERBS: dict[str, Callable[[Metadir], object]] = {
    "update": lambda m: m.update(),
    "find": lambda m: [dict(file) for file in m.files],
    "filter": lambda m: list(m.files.find(n={">=": 5}, title={"like": "%x"}, order_by="-ratio")),
    "distinct": lambda m: list(m.files.distinct("mixed", "public")),
    "count": lambda m: m.files.count(public=False),
    "status": lambda m: m.status(),
    "inspect": lambda m: m.inspect(),
    "is_outdated": lambda m: m.is_outdated,
    "save": save,
    "job": run_job,
    "generate": lambda m: m.generate(ensure=True),
    "upsert": lambda m: m.files.upsert({"content_hash": "new", "title": "t"}),
    "replace": lambda m: m.update(replace=True),
}


def forget_local(archive: Archive) -> None:
    """The client as it was before its first update."""
    archive.client.close()
    shutil.rmtree(archive.client.layout.local, ignore_errors=True)


def test_a_damaged_metadata_db_is_one_clear_error_and_is_never_half_merged(archive: Archive) -> None:
    """At a client before its first update: an error leaves nothing behind, and what was merged is what was published."""
    fill(archive)
    archive.publish()
    expected = {file.unique_value: dict(file) for file in archive.server.files}
    metadir = archive.client.layout.metadir
    sound = archive.client.layout.meta_db.read_bytes()
    refused = 0
    for how, broken in damaged_copies(sound, "meta.db, first"):
        forget_local(archive)
        archive.client.layout.meta_db.write_bytes(broken)
        with Metadir(archive.client_path) as client:
            try_everything(client, "find", "filter", "count", "inspect")
            errors = try_everything(client, "update")
            refused += len(errors)
            if errors:
                assert str(client.layout.meta_db) in errors[0], (how, errors)
                assert not (metadir / "local").exists(), (how, errors)
            else:
                assert {file.unique_value: dict(file) for file in client.files} == expected, how
                verbs = ("find", "filter", "distinct", "status", "is_outdated", "save", "job", "update")
                assert try_everything(client, *verbs) == [], how
    assert refused > 0


def test_a_later_update_from_a_damaged_metadata_db_leaves_the_state_as_it_was(archive: Archive) -> None:
    """And the next one from a sound copy brings what the damaged one could not."""
    fill(archive)
    archive.deliver()
    run_job(archive.client)
    for number in range(0, 60, 2):
        archive.write(f"folder-{number % 3}/file-{number}", title="changed", n=number, public=True)
    archive.publish()
    expected = {file.unique_value: dict(file) for file in archive.server.files}
    sound = archive.client.layout.meta_db.read_bytes()
    archive.client.close()
    state = archive.client.layout.state.read_bytes()
    for how, broken in damaged_copies(sound, "meta.db, later"):
        archive.client.close()
        archive.client.layout.state.write_bytes(state)
        archive.client.layout.meta_db.write_bytes(broken)
        before = archive.client_files()
        errors = try_everything(archive.client, "update")
        if errors:
            assert str(archive.client.layout.meta_db) in errors[0], (how, errors)
            assert archive.client_files() == before, how
        archive.client.close()
        archive.client.layout.meta_db.write_bytes(sound)
        archive.client.update()
        assert archive.client_files() == expected, (how, errors)


def test_a_server_with_a_damaged_metadata_db_says_so(archive: Archive) -> None:
    """Whatever is called; never an error of Python or SQLite."""
    fill(archive)
    archive.server.generate()
    archive.server.close()
    meta_db, scan_db = archive.server.layout.meta_db, archive.server.layout.scan_db
    sound, scan = meta_db.read_bytes(), scan_db.read_bytes()
    for _, broken in damaged_copies(sound, "meta.db, server"):
        meta_db.write_bytes(broken)
        scan_db.write_bytes(scan)
        with Metadir(archive.server_path) as server:
            archive.write("folder-1/file-1", title="changed again", n=1)
            errors = try_everything(server, "find", "filter", "distinct", "generate", "upsert", "generate", "inspect")
            assert not any("sync" in error.replace("or was copied", "") for error in errors), errors
        meta_db.with_name("meta.db-journal").unlink(missing_ok=True)
        archive.server.layout.state.unlink(missing_ok=True)


def test_a_damaged_state_db_is_one_clear_error(archive: Archive) -> None:
    """Whatever is called; never an error of Python or SQLite, and never the metadata db's fault."""
    fill(archive)
    archive.deliver()
    save(archive.client)
    run_job(archive.client)
    for number in range(0, 60, 2):
        archive.write(f"folder-{number % 3}/file-{number}", title="changed", n=number, public=True)
    archive.publish()
    archive.client.close()
    state_db = archive.client.layout.state
    sound = state_db.read_bytes()
    refused = 0
    for how, broken in damaged_copies(sound, "state.db"):
        for suffix in ("-wal", "-shm"):
            state_db.with_name(state_db.name + suffix).unlink(missing_ok=True)
        state_db.write_bytes(broken)
        with Metadir(archive.client_path) as client, warnings.catch_warnings():
            warnings.simplefilter("ignore", OutdatedWarning)
            verbs = ("find", "filter", "distinct", "status", "inspect", "is_outdated", "save", "job", "update", "job")
            errors = try_everything(client, *verbs, "find", "status", "replace")
            assert all(str(state_db) in error for error in errors), (how, errors)
            refused += len(errors)
    assert refused > 0


def test_update_replace_mends_what_came_from_the_remote(archive: Archive) -> None:
    """As the message says; what the client has set stays."""
    fill(archive)
    archive.deliver()
    save(archive.client)
    expected = archive.client_files()
    archive.client.close()
    state_db = archive.client.layout.state
    sound = state_db.read_bytes()
    assert b"Stra\xc3\x9fenbau" in sound
    state_db.write_bytes(sound.replace(b"Stra\xc3\x9fenbau", b"Stra\xff\x9fenbau"))
    with pytest.raises(StateDbError, match="update --replace"):
        archive.client_files()
    assert archive.client.update().how == "nothing new"
    archive.client.update(replace=True)
    assert archive.client_files() == expected
    assert [file["seen"] for file in archive.client.files.find(seen=True)] == [True]
