"""Bad input has its defined outcome: set aside and named, or kept faithfully; nothing else is lost."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.errors import (
    DigestMismatchError,
    FormatError,
    HotJournalError,
    LegacyMetadirError,
    MetadataDbError,
    MmmetaError,
    StoreKeyError,
)

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_privileges(code: str, *arguments: object) -> dict[str, Any]:
    """Run code that obeys permissions although the tests may run as root; it prints one JSON object."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_obey_permissions if os.geteuid() == 0 else None,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _obey_permissions() -> None:
    """Give up, from the next exec on, the capabilities that let root pass over permissions."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


# Metadata files


BROKEN = {
    "half": (b'{"content_hash": "half", "a', "not valid JSON"),
    "empty": (b"", "empty"),
    "list": (b"[1]", "a list"),
    "null": (b"null", "null"),
    "no-unique": (b'{"title": "x"}', "'content_hash' is missing"),
    "null-unique": (b'{"content_hash": null}', "must be a text"),
    "empty-unique": (b'{"content_hash": ""}', "must be a text"),
    "list-unique": (b'{"content_hash": ["x"]}', "must be a text"),
    "nan": (b'{"content_hash": "nan", "x": NaN}', "NaN is not a JSON number"),
    "huge": (b'{"content_hash": "huge", "x": 1e400}', "infinity"),
    "surrogate": (b'{"content_hash": "s", "x": "\\ud83d"}', "surrogate"),
    "latin1": (b'{"content_hash": "\xe9"}', "not UTF-8 (byte 19 is 0xE9)"),
    "utf16": ('{"content_hash": "é"}'.encode("utf-16"), "UTF-16"),
    "endless-integer": (b'{"content_hash": "i", "x": %s}' % (b"9" * 4_301), "a number cannot be read"),
    "huge-beside-integer": (b'{"content_hash": "i", "x": 1e400, "y": %s}' % (b"9" * 400), "infinity"),
    "deep": (b'{"content_hash": "deep", "x": ' + b"[" * 600 + b"]" * 600 + b"}", "nested"),
    "binary": (b"%PDF-1.4\x00\xff", "not valid JSON"),
}


def test_broken_metadata_files_are_set_aside_and_named(archive: Archive) -> None:
    """Each with its reason, at every generate; the good ones go on, and a mended one comes in."""
    archive.write("good")
    for name, (raw, _) in BROKEN.items():
        archive.write(name, raw)
    for _ in range(2):
        report = archive.server.generate()
        assert report.problem_count == len(BROKEN)
        problems = {problem.source: problem.reason for problem in report.problems}
        assert problems.keys() == {f"{name}.json" for name in BROKEN}
        for name, (_, reason) in BROKEN.items():
            assert reason in problems[f"{name}.json"]
    assert set(archive.deliver().notes) == set()
    assert set(archive.client_files()) == {"good"}
    archive.write("half")
    assert archive.server.generate().added == 1


def test_a_metadata_file_that_breaks_later_keeps_what_was_known(archive: Archive) -> None:
    """Also under ``ensure``: it may be in the middle of being written."""
    archive.write("a", n=1)
    archive.server.generate()
    archive.write("a", b'{"content_hash": "a", "n')
    report = archive.server.generate(ensure=True)
    assert (report.problem_count, report.deleted) == (1, 0)
    assert [file["n"] for file in archive.server.files] == [1]


def test_odd_keys_are_kept_faithfully(archive: Archive) -> None:
    """Whatever they are called; reserved ones are left out and named."""
    record = {
        "content_hash": "x",
        "id": 1,
        "Title": "A",
        "title": "b",
        "a.b": 1,
        "a-b": 2,
        "a_b": 3,
        "$any": [1],
        "k" * 300: "long",
        "k" * 299 + "l": "other",
        "drop table files; --": 1,
        'a"b': 1,
        "": "empty",
        "nul\0": 0,
        "big": 2**64,
        "rowid": 7,
        "00": "0012",
        "null": None,
    }
    archive.write("x", {**record, "__rev": 99})
    assert "were left out: __rev" in archive.publish().notes[0]
    archive.client.update()
    for metadir in (archive.server, archive.client):
        (found,) = metadir.files
        assert {key: repr(value) for key, value in found.items()} == {key: repr(value) for key, value in record.items()}
        assert next(metadir.files.find({"$$any": {"!=": None}}), None) is not None
        assert metadir.files.count({"k" * 300: "long", "Title": "A"}) == 1
        assert metadir.files.count(title="A") == 0


@pytest.mark.parametrize("digits", [19, 20, 308, 309, 400, 4_300])
def test_an_integer_keeps_all_its_digits(archive: Archive, digits: int) -> None:
    """As ``json.loads`` reads it, wherever it stands, up to what Python reads; from Python code as well."""
    number = -int("9" * digits)
    record = {"n": number, "list": [number, {"deep": number}], "unlike": 1.5, **{f"k{at}": 0 for at in range(1_000)}}
    archive.write("x", {**record, "late": number})
    archive.deliver()
    archive.server.files.insert({"content_hash": "y", "n": number})
    archive.sync()
    archive.client.update()
    found = archive.client.files.get("x")
    assert found is not None
    assert {key: repr(value) for key, value in found.items()} == {
        key: repr(value) for key, value in {"content_hash": "x", **record, "late": number}.items()
    }
    assert archive.client.files.count(n=number) == 2
    assert archive.client.files.count(late=number) == 1
    assert archive.client.files.count(n=number + 1) == 0


@pytest.mark.parametrize("order", ["flat first", "nested first"])
def test_a_key_given_twice_is_counted_and_the_nested_wins(archive: Archive, order: str) -> None:
    """``a:b`` beside ``{a: {b}}``."""
    pairs = [("a:b", "flat"), ("a", {"b": "nested"})]
    archive.write("x", dict(pairs if order == "flat first" else pairs[::-1]))
    report = archive.server.generate()
    assert report.clashes == 1
    assert "a:b" in report.notes[0]
    assert [file["a:b"] for file in archive.server.files] == ["nested"]


def test_three_thousand_keys_in_one_file(archive: Archive) -> None:
    """Those past the columns are found by the same name, with their types, also after a change."""
    record: dict[str, Any] = {f"key{number}": number for number in range(3_000)}
    record.update(late_bool=True, late_text="1", late_null=None, late_list=[2**70, 1.0], late_float=-0.0)
    archive.write("x", record)
    archive.write("y", key2999="text")
    archive.deliver()
    archive.write("x", {**record, "key2998": "changed"})
    assert archive.deliver().changed == 1
    expected = {**record, "key2998": "changed", "content_hash": "x"}
    for metadir in (archive.server, archive.client):
        (found,) = metadir.files(key2999=2_999)
        assert {key: repr(value) for key, value in found.items()} == {k: repr(v) for k, v in expected.items()}
        for filters in (
            {"key2999": "text"},
            {"late_bool": True},
            {"late_text": "1"},
            {"key2500": {">": 2_499}},
            {"key2998": "changed"},
            {"key3": 3},
        ):
            assert metadir.files.count(filters) == 1, filters
        assert metadir.files.count(late_text=1) == 0


def test_a_file_name_that_is_not_utf8_is_an_ordinary_file(archive: Archive) -> None:
    """Shown with escapes; ``ensure`` and ``ensure_files`` find it and its document, and nothing changes."""
    folder = os.fsencode(archive.server_path) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/x\xff.json", "wb") as file:
        file.write(b'{"content_hash": "x", "_file_name": "x.pdf"}')
    with open(folder + b"/x.pdf", "wb") as file:
        file.write(b"%PDF")
    assert archive.server.generate(ensure=True, ensure_files=True).added == 1
    for options in ({}, {"ensure": True}, {"ensure_files": True}):
        report = archive.server.generate(**options)
        assert (report.revision, report.deleted, report.problem_count) == (1, 0, 0)
    assert [file.source for file in archive.server.files] == ["caf\\xe9/x\\xff.json"]
    os.unlink(folder + b"/x.pdf")
    assert archive.server.generate(ensure_files=True).deleted == 1


def test_what_is_no_regular_file_is_set_aside(archive: Archive) -> None:
    """A pipe is not waited for, a loop not followed, a dangling link named."""
    archive.write("good")
    os.mkfifo(archive.server_path / "pipe.json")
    (archive.server_path / "loop.json").symlink_to("loop.json")
    (archive.server_path / "dangling.json").symlink_to("nowhere.json")
    (archive.server_path / "around").symlink_to(".")
    (archive.server_path / "folder.json").mkdir()
    report = archive.server.generate(ensure=True)
    assert report.added == 1
    assert {problem.source for problem in report.problems} == {"pipe.json", "loop.json", "dangling.json", "around"}


def test_what_cannot_be_read_is_not_deleted(archive: Archive) -> None:
    """An unreadable file, a folder that cannot be listed, one that cannot be entered: named, and left as they were."""
    archive.write("good")
    archive.write("unreadable")
    archive.write("unlistable/a")
    archive.write("closed/b", _file_name="b.pdf")
    (archive.server_path / "closed" / "b.pdf").write_bytes(b"x")
    code = """
        import json, os, sys
        from mmmeta import Metadir
        root = sys.argv[1]
        with Metadir(root) as server:
            server.generate()
            modes = {"unreadable.json": 0, "unlistable": 0, "closed": 0o600}
            for name, mode in modes.items():
                os.chmod(f"{root}/{name}", mode)
            reports = [server.generate(**options) for options in ({}, {"ensure": True}, {"ensure_files": True})]
            os.unlink(server.layout.scan_db)
            reports.append(server.generate(ensure=True))
            print(json.dumps({
                "files": sorted(file.unique_value for file in server.files),
                "problems": [sorted({p.source for p in r.problems}) for r in reports],
                "revisions": [r.revision for r in reports],
            }))
            for name in modes:
                os.chmod(f"{root}/{name}", 0o700)
    """
    result = without_privileges(code, archive.server_path)
    assert result["files"] == ["closed/b", "good", "unlistable/a", "unreadable"]
    assert result["revisions"] == [1, 1, 1, 1]
    for problems in result["problems"]:
        assert {"unreadable.json", "unlistable"} <= set(problems)
        assert any(source.startswith("closed") for source in problems)


def test_a_server_that_may_not_write_says_so(archive: Archive) -> None:
    """One error that names the place."""
    archive.write("good")
    code = """
        import json, os, sys
        from mmmeta import Metadir
        from mmmeta.errors import MmmetaError
        os.chmod(sys.argv[1], 0o500)
        try:
            Metadir(sys.argv[1]).generate()
        except MmmetaError as error:
            print(json.dumps({"error": str(error)}))
        os.chmod(sys.argv[1], 0o700)
    """
    assert "_mmmeta" in without_privileges(code, archive.server_path)["error"]
    assert not archive.server.layout.metadir.exists()


def test_a_client_may_read_from_a_metadir_that_it_cannot_write(archive: Archive) -> None:
    """Only ``local/`` must be writable."""
    archive.write("a")
    archive.publish()
    archive.client.layout.local.mkdir()
    code = """
        import json, os, pathlib, sys
        from mmmeta import Metadir
        metadir = pathlib.Path(sys.argv[1]) / "_mmmeta"
        for path in (metadir / "meta.db", metadir / "_store", metadir):
            os.chmod(path, 0o500)
        with Metadir(sys.argv[1]) as client:
            report = client.update()
            again = client.update()
            file = next(iter(client.files))
            file["imported"] = True
            file.save()
        print(json.dumps({"added": report.added, "how": again.how, "left": sorted(os.listdir(metadir))}))
        os.chmod(metadir / "_store", 0o700)
        os.chmod(metadir, 0o700)
    """
    result = without_privileges(code, archive.client_path)
    assert result == {"added": 1, "how": "nothing new", "left": ["_store", "local", "meta.db"]}


# The metadata db


def publish_two(archive: Archive) -> None:
    """Two publishes, the first merged, the second synced."""
    for number in range(40):
        archive.write(f"f{number}", text="x" * 500, n=0)
    archive.deliver()
    for number in range(40):
        archive.write(f"f{number}", text="y" * 500, n=1)
    archive.publish()


def torn(archive: Archive) -> bytes:
    """Every second page of the new metadata db, the others of the old."""
    publish_two(archive)
    new = archive.server.layout.meta_db.read_bytes()
    archive.write("f1", text="z" * 500, n=2)
    archive.server.generate()
    newer = archive.server.layout.meta_db.read_bytes()
    pages = range(0, len(newer), 4096)
    return b"".join((newer if page // 4096 % 2 == 0 else new)[page : page + 4096] for page in pages)


def with_format(archive: Archive, version: object) -> bytes:
    """The server's metadata db with another format number."""
    copy = archive.root / "format.db"
    shutil.copy(archive.server.layout.meta_db, copy)
    connection = sqlite3.connect(copy)
    connection.execute("UPDATE info SET value = ? WHERE name = 'format'", (version,))
    connection.commit()
    connection.close()
    return copy.read_bytes()


def foreign(archive: Archive, *tables: str) -> bytes:
    """An SQLite file with these tables."""
    path = archive.root / "foreign.db"
    connection = sqlite3.connect(path)
    for table in tables:
        connection.execute(f"CREATE TABLE {table} (x)")
    connection.commit()
    connection.close()
    return path.read_bytes()


CASES: dict[str, tuple[Callable[[Archive], bytes], type[MmmetaError], str]] = {
    "not SQLite": (lambda archive: b"<html>404 Not Found</html>" * 90, MetadataDbError, "is not an SQLite database"),
    "short text": (lambda archive: b"oops", MetadataDbError, "is not an SQLite database"),
    "empty": (lambda archive: b"", MetadataDbError, "is empty"),
    "header only": (lambda archive: archive.server.layout.meta_db.read_bytes()[:70], MetadataDbError, "is cut short"),
    "truncated": (lambda archive: archive.server.layout.meta_db.read_bytes()[:-5_000], MetadataDbError, "is cut short"),
    "truncated in a page": (
        lambda archive: archive.server.layout.meta_db.read_bytes()[:-1],
        MetadataDbError,
        "is cut short",
    ),
    "newer format": (lambda archive: with_format(archive, 2), FormatError, "upgrade mmmeta"),
    "no format": (lambda archive: with_format(archive, "x"), FormatError, "upgrade mmmeta"),
    "no tables": (lambda archive: foreign(archive, "x") and foreign_empty(archive), MetadataDbError, "has no tables"),
    "foreign": (lambda archive: foreign(archive, "users"), LegacyMetadirError, "another program"),
    "legacy": (lambda archive: foreign(archive, "files", "meta"), LegacyMetadirError, "0.1-0.4"),
    "foreign info": (lambda archive: foreign(archive, "info"), MetadataDbError, "no such column"),
    "a state db": (lambda archive: state_db(archive), FormatError, "not a metadata db"),
}


def foreign_empty(archive: Archive) -> bytes:
    """A valid SQLite file without any table."""
    path = archive.root / "blank.db"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE x (y); DROP TABLE x;")
    connection.close()
    return path.read_bytes()


def state_db(archive: Archive) -> bytes:
    """A state db where the metadata db should be."""
    archive.client.close()
    return archive.client.layout.state.read_bytes()


@pytest.mark.parametrize("first", [True, False], ids=["first update", "later update"])
@pytest.mark.parametrize("case", CASES)
def test_a_bad_metadata_db_is_one_clear_error(archive: Archive, case: str, first: bool) -> None:
    """Reading and updating say the same; nothing is written, the state stays, a good sync mends it."""
    publish_two(archive)
    make, kind, message = CASES[case]
    bad = make(archive)
    metadir = archive.client.layout.metadir
    if first:
        archive.client.close()
        shutil.rmtree(archive.client.layout.local)
    archive.client.layout.meta_db.write_bytes(bad)
    before = everything(metadir)
    with Metadir(archive.client_path) as client:
        with pytest.raises(kind, match=message) as caught:
            client.update()
        assert "\n" not in str(caught.value)
        assert str(client.layout.meta_db) in str(caught.value)
        assert client.inspect().problems
        if first:
            with pytest.raises(kind, match=message):
                list(client.files)
            assert everything(metadir) == before
        else:
            assert {file["n"] for file in archive.client_files().values()} == {0}
        assert client.layout.meta_db.read_bytes() == bad
        archive.sync()
        client.update()
        assert {file["n"] for file in archive.client_files().values()} == {1}


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("empty", "no tables")])
def test_generate_leaves_a_bad_metadata_db_alone(archive: Archive, case: str) -> None:
    """It may be all that is left of something."""
    publish_two(archive)
    make, kind, message = CASES[case]
    bad = make(archive)
    archive.server.close()
    archive.server.layout.meta_db.write_bytes(bad)
    for verb in (archive.server.generate, lambda: archive.server.files.insert(content_hash="x")):
        with pytest.raises(kind, match=message):
            verb()
        archive.server.close()
        assert archive.server.layout.meta_db.read_bytes() == bad


def test_a_torn_copy_is_refused_and_the_state_stays(archive: Archive) -> None:
    """Half old pages, half new ones."""
    archive.client_path.mkdir(exist_ok=True)
    bad = torn(archive)
    archive.client.layout.meta_db.write_bytes(bad)
    before = archive.client_files()
    with pytest.raises((DigestMismatchError, MetadataDbError), match=r"meta\.db"):
        archive.client.update()
    assert archive.client_files() == before
    archive.sync()
    archive.client.update()
    assert archive.client_files()["f1"]["n"] == 2


def kill_in_the_middle_of_a_write(archive: Archive) -> None:
    """Leave a hot journal at the server: a writer whose pages have reached the file dies before it commits."""
    code = textwrap.dedent(
        """
        import sys, time
        from mmmeta import Metadir
        server = Metadir(sys.argv[1])
        with server._backend.metadata.atomic() as connection:
            connection.execute("PRAGMA cache_size=1")
            connection.execute("UPDATE files SET __source = 'half written', n = n + 1")
            connection.execute("CREATE TABLE more AS SELECT * FROM files")
            print("now", flush=True)
            time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", code, str(archive.server_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"now\n"
        writer.send_signal(signal.SIGKILL)
    journal = archive.server.layout.metadir / "meta.db-journal"
    assert journal.stat().st_size > 0


def test_a_synced_hot_journal_is_named_and_touched_by_nobody(archive: Archive) -> None:
    """A client cannot roll it back; the state stays."""
    publish_two(archive)
    kill_in_the_middle_of_a_write(archive)
    archive.sync()
    before = everything(archive.client.layout.metadir)
    with pytest.raises(HotJournalError, match="sync the metadir again"):
        archive.client.update()
    after = everything(archive.client.layout.metadir)
    assert {name: after[name] for name in ("meta.db", "meta.db-journal")} == {
        name: before[name] for name in ("meta.db", "meta.db-journal")
    }
    assert {file["n"] for file in archive.client_files().values()} == {0}


@pytest.mark.parametrize("verb", ["generate", "insert", "read", "update"])
def test_a_server_recovers_its_own_hot_journal(archive: Archive, verb: str) -> None:
    """Whatever is called next goes on from the last commit."""
    publish_two(archive)
    kill_in_the_middle_of_a_write(archive)
    if verb == "generate":
        assert archive.server.generate().unchanged == 40
    elif verb == "insert":
        archive.server.files.insert(content_hash="x")
    elif verb == "update":
        assert archive.server.update().added == 40
    files = [file for file in archive.server.files if file.unique_value != "x"]
    assert {(file["n"], file.source) for file in files} == {(1, f"f{number}.json") for number in range(40)}
    archive.publish()
    archive.client.update()
    assert len(archive.client.files) == 40 + (verb == "insert")


def test_a_metadir_of_an_old_mmmeta_is_refused_untouched(tmp_path: Path) -> None:
    """By every verb."""
    metadir = tmp_path / "_mmmeta"
    (metadir / "db").mkdir(parents=True)
    (metadir / "db" / "x.csv").write_text("content_hash\nx\n")
    (metadir / "state.db").write_bytes(b"")
    before = everything(tmp_path)
    with Metadir(tmp_path) as old:
        for verb in (old.generate, old.update, lambda: old.files.insert(content_hash="x"), lambda: list(old.files)):
            with pytest.raises(LegacyMetadirError, match="untouched"):
                verb()
    assert everything(tmp_path) == before


def test_a_state_db_of_another_program_is_left_alone(archive: Archive) -> None:
    """The error names it and the way out."""
    archive.write("a")
    archive.publish()
    state = archive.root / "users.db"
    connection = sqlite3.connect(state)
    connection.execute("CREATE TABLE users (name)")
    connection.commit()
    connection.close()
    with Metadir(archive.client_path, state=state) as client, pytest.raises(MmmetaError, match="MMMETA_STATE"):
        client.update()
    state.write_bytes(b"not a database, in more bytes than one page has" * 100)
    with Metadir(archive.client_path, state=state) as client, pytest.raises(MmmetaError, match=r"users\.db"):
        client.update()


@pytest.mark.parametrize("key", ["a/b", "..", "\0", "", "x" * 300, ".hidden", "\udcff"])
def test_store_keys_that_cannot_be_file_names_are_refused(archive: Archive, key: str) -> None:
    """Reading and writing; nothing is created."""
    for use in (lambda: archive.server.store[key], lambda: archive.server.touch(key)):
        with pytest.raises(StoreKeyError):
            use()
    assert not archive.server.layout.metadir.exists()


def test_paths_with_characters_that_urls_know_are_ordinary(tmp_path: Path) -> None:
    """SQLite takes its path as a URL."""
    archive = Archive(tmp_path / "a?b#c%41 ü&mode=rw")
    archive.write("a")
    assert archive.deliver().added == 1
    archive.close()
    name = os.fsdecode(b"\xff\xfe")
    archive = Archive(tmp_path / name)
    archive.write("a")
    assert archive.deliver().added == 1
    assert set(archive.client_files()) == {"a"}
    archive.close()


def test_a_writer_at_work_does_not_stop_readers_for_long(archive: Archive) -> None:
    """A reader waits for the commit, and then reads."""
    publish_two(archive)
    began = time.monotonic()
    with archive.server._backend.metadata.atomic() as connection, Metadir(archive.server_path) as reader:
        connection.execute("UPDATE files SET n = 5")
        assert {file["n"] for file in reader.files} == {1}
    assert time.monotonic() - began < 10
