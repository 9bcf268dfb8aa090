"""What must hold for any metadata, any order of events and any damage."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from hypothesis import example, given
from hypothesis import strategies as st

from mmmeta.errors import DigestMismatchError, MetadataDbError
from mmmeta.values import flatten

pytestmark = pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning")

ODD_KEYS = [
    "id",
    "Title",
    "title",
    "a.b",
    "a-b",
    "a:b",
    "a",
    "b",
    "$any",
    "file",
    "rowid",
    "order",
    "__rev",
    "",
    "n" * 300,
    'quo"te',
    "apo'strophe",
    "nul\0key",
    "new\nline",
    "ä",
    "Ä",
    "content_hash ",
    "a_b__3",
    "?1",
    "{x}",
    "imported",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 10**40, 10**400]),
    st.sampled_from([0.0, -0.0, 1.0, 1e16, 5e-324, 1.7e308, 2.0**63]),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.sampled_from(["", "0012", "1", "[]", "true", "null"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*ODD_KEYS[:8], "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.one_of(st.sampled_from(ODD_KEYS), texts)
records = st.dictionaries(keys, values, max_size=8)


@contextmanager
def archives() -> Iterator[Archive]:
    """A fresh archive for one example; in memory where possible, for hundreds of examples would wait for the disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        archive = Archive(Path(folder))
        try:
            yield archive
        finally:
            archive.close()


def kept(name: str, record: dict[str, Any]) -> dict[str, Any]:
    """What is to be read back of a record."""
    flat = flatten({**record, "content_hash": name}).values
    return {key: value for key, value in flat.items() if not key.startswith("__")}


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Equal in value and type, in whatever order."""
    assert {key: repr(value) for key, value in left.items()} == {key: repr(value) for key, value in right.items()}


def seen_by(files: Any) -> dict[str, dict[str, Any]]:
    return {file.unique_value: dict(file.meta) for file in files}


def write(archive: Archive, name: str, record: dict[str, Any]) -> None:
    archive.write(name, json.dumps({**record, "content_hash": name}).encode())


def check_all(files: Any, expected: dict[str, dict[str, Any]]) -> None:
    seen = seen_by(files)
    assert seen.keys() == expected.keys()
    for name, record in expected.items():
        assert_same(seen[name], kept(name, record))


@given(
    generations=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdef"), records, max_size=4), st.sampled_from(["", "", "replace"])
        ),
        min_size=1,
        max_size=4,
    )
)
@example(
    generations=[({"a": {"x": None}}, ""), ({"b": {"x": True}, "c": {"x": 1}}, ""), ({"a": {"x": "1"}}, "replace")]
)
@example(generations=[({"a": {"x": 1, "y": 2}}, ""), ({"a": {"y": "s", "x": [1]}}, "replace"), ({"b": {"x": 2}}, "")])
def test_any_metadata_reads_back_equal_in_value_and_type(
    generations: list[tuple[dict[str, dict[str, Any]], str]],
) -> None:
    """From meta.db and from the state db, whatever kinds a key had before and however the registries part."""
    with archives() as archive:
        expected: dict[str, dict[str, Any]] = {}
        for changes, how in generations:
            for name, record in changes.items():
                write(archive, name, record)
            expected.update(changes)
            report = archive.publish(replace=how == "replace")
            assert report.problems == ()
            assert archive.client.update().how != "repair" or how == "replace"
            check_all(archive.server.files, expected)
            check_all(archive.client.files, expected)
        assert len(archive.client.files) == len(expected)


def put(local: dict[str, Any], key: str, value: Any) -> None:
    """What a client has after it set a key: an object is flattened and takes the place of what was below the key."""
    if isinstance(value, dict):
        for own in [name for name in local if name == key or name.startswith(f"{key}:")]:
            del local[own]
    local.update(flatten({key: value}).values)


@given(records=st.lists(records, min_size=1, max_size=5))
def test_what_the_client_sets_reads_back_equal_beside_what_the_remote_sent(records: list[dict[str, Any]]) -> None:
    """Local values have the same types, in columns of their own."""
    with archives() as archive:
        write(archive, "f", records[0])
        archive.deliver()
        local: dict[str, Any] = {}
        for record in records:
            found = archive.client.files.get("f")
            assert found is not None
            for key, value in record.items():
                if key and key != "content_hash" and not key.startswith("__"):
                    found[key] = value
                    put(local, key, value)
            found.save()
            found = archive.client.files.get("f")
            assert found is not None
            assert_same(dict(found.local), local)
            assert_same(dict(found.meta), kept("f", records[0]))


steps = st.one_of(
    st.tuples(st.just("set"), st.sampled_from("abc"), st.sampled_from(["imported", "n", "own"]), scalars),
    st.tuples(st.just("unset"), st.sampled_from("abc"), st.sampled_from(["imported", "n", "own"])),
    st.tuples(st.just("write"), st.sampled_from("abc"), st.dictionaries(st.sampled_from(["n", "imported"]), scalars)),
    st.tuples(st.just("delete"), st.sampled_from("abc")),
    st.tuples(st.just("remove"), st.sampled_from("abc")),
    st.tuples(st.just("generate"), st.sampled_from(["", "replace", "ensure"])),
    st.tuples(st.just("update"), st.sampled_from(["", "replace"])),
)


@given(history=st.lists(steps, min_size=3, max_size=25))
def test_an_update_never_touches_local_state(history: list[tuple[Any, ...]]) -> None:
    """Whatever happens at the remote: a model of two dicts tells what the client must see."""
    with archives() as archive:
        for name in "abc":
            write(archive, name, {"n": 0})
        archive.deliver()
        local: dict[str, dict[str, Any]] = {name: {} for name in "abc"}
        for step, *arguments in history:
            if step == "set":
                name, key, value = arguments
                found = archive.client.files.get(name)
                assert found is not None
                found[key] = local[name][key] = value
                found.save()
            elif step == "unset":
                name, key = arguments
                found = archive.client.files.get(name)
                assert found is not None
                if key in local[name]:
                    del found[key], local[name][key]
                    found.save()
            elif step == "write":
                write(archive, arguments[0], arguments[1])
            elif step == "delete":
                archive.server.files.delete(content_hash=arguments[0])
            elif step == "remove":
                (archive.server_path / f"{arguments[0]}.json").unlink(missing_ok=True)
            elif step == "generate":
                archive.publish(allow_mass_delete=True, **({arguments[0]: True} if arguments[0] else {}))
            else:
                archive.sync()
                archive.client.update(**({arguments[0]: True} if arguments[0] else {}))
                remote = {name: repr(sorted(file.items())) for name, file in seen_by(archive.server.files).items()}
                assert {
                    name: repr(sorted(file.items())) for name, file in seen_by(archive.client.files).items()
                } == remote
                assert archive.client.files.count() == len(remote)
            for name, values in local.items():
                found = archive.client.files.get(name)
                assert found is not None
                assert_same(dict(found.local), values)
                for key in ("imported", "n", "own"):
                    expected = values.get(key, found.meta.get(key))
                    assert repr(found.get(key)) == repr(expected)


def tamper(path: Path, old: Path, chance: random.Random) -> None:
    """Change, remove or add one row, or put an older version of one in its place."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT content_hash, __rev FROM files").fetchall()
    name, _ = chance.choice(rows)
    how = chance.choice(["fingerprint", "missing", "extra", "older", "null", "text"])
    if how == "fingerprint":
        connection.execute("UPDATE files SET __fingerprint = randomblob(16) WHERE content_hash = ?", (name,))
    elif how == "missing":
        connection.execute("DELETE FROM files WHERE content_hash = ?", (name,))
    elif how in ("extra", "null", "text"):
        connection.execute("CREATE TEMP TABLE extra AS SELECT * FROM files WHERE content_hash = ?", (name,))
        fingerprint = {"extra": "__fingerprint", "null": "NULL", "text": "'x'"}[how]
        connection.execute(f"UPDATE extra SET content_hash = 'extra', __fingerprint = {fingerprint}")
        connection.execute("INSERT INTO files SELECT * FROM extra")
    else:
        connection.execute("ATTACH ? AS old", (str(old),))
        connection.execute("DELETE FROM files WHERE content_hash = ?", (name,))
        connection.execute("INSERT INTO files SELECT * FROM old.files WHERE content_hash = ?", (name,))
    connection.commit()
    connection.close()


@given(seed=st.integers(0, 2**32), first=st.booleans(), repair=st.booleans())
def test_the_digest_catches_any_changed_missing_or_extra_row(seed: int, first: bool, repair: bool) -> None:
    """The update refuses and leaves the state as it was, or the state holds what the server really has."""
    chance = random.Random(seed)
    with archives() as archive:
        for number in range(6):
            archive.write(f"f{number}", n=0)
        archive.publish()
        shutil.copy(archive.server.layout.meta_db, archive.root / "old.db")
        if not first:
            archive.client.update()
        before = {} if first else archive.client_files()
        for number in range(3):
            archive.write(f"f{number}", n=1)
        archive.publish()
        truth = {file.unique_value: dict(file) for file in archive.server.files}
        copy = archive.client.layout.meta_db
        if repair and not first:
            connection = sqlite3.connect(copy)
            connection.execute("UPDATE revisions SET digest = randomblob(16) WHERE rev = 1")
            connection.commit()
            connection.close()
        tamper(copy, archive.root / "old.db", chance)
        try:
            archive.client.update()
        except (DigestMismatchError, MetadataDbError):
            assert archive.client.is_client is not first
            assert first or archive.client_files() == before
        else:
            assert archive.client_files() == truth
        archive.sync()
        archive.client.update()
        assert archive.client_files() == truth
        assert archive.client.files.count() == len(truth)


SAME_SIZE = st.integers(0, 9)


@given(
    history=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.sampled_from("abc"), SAME_SIZE),
            st.tuples(st.just("in place, same mtime"), st.sampled_from("abc"), SAME_SIZE),
            st.tuples(st.just("cp -p"), st.sampled_from("abc"), SAME_SIZE),
            st.tuples(
                st.just("scan"), st.sampled_from(["gone", "older", "foreign", "damaged", "cut", "text", "empty"])
            ),
            st.tuples(st.just("metadata db rolled back")),
            st.tuples(st.just("replace")),
            st.tuples(st.just("generate")),
        ),
        min_size=3,
        max_size=20,
    ),
    seed=st.integers(0, 2**32),
)
def test_no_scan_db_and_no_racy_write_hides_a_file(history: list[tuple[Any, ...]], seed: int) -> None:
    """After every generate the metadata db says what the metadata files say."""
    chance = random.Random(seed)
    with archives() as archive, archives() as other:
        for name in "abc":
            archive.write(name, n=0)
            other.write(name, n=0)
        other.server.generate()
        archive.server.generate()
        scan, meta = archive.server.layout.scan_db, archive.server.layout.meta_db
        truth = dict.fromkeys("abc", 0)
        old_scan, old_meta = scan.read_bytes(), meta.read_bytes()
        for step, *arguments in history:
            if step == "scan":
                archive.server.close()
                damaged = bytearray(scan.read_bytes() if scan.exists() else b"")
                for _ in range(30 if len(damaged) > 100 else 0):
                    damaged[chance.randrange(100, len(damaged))] = chance.randrange(256)
                scan.unlink(missing_ok=True)
                content = {
                    "gone": None,
                    "older": old_scan,
                    "foreign": other.server.layout.scan_db.read_bytes(),
                    "damaged": bytes(damaged),
                    "cut": old_scan[: chance.randrange(len(old_scan) + 1)],
                    "text": b"not a database at all, but longer than a header is" * 9,
                    "empty": b"",
                }[arguments[0]]
                if content is not None:
                    scan.write_bytes(content)
            elif step == "metadata db rolled back":
                archive.server.close()
                meta.write_bytes(old_meta)
            elif step in ("replace", "generate"):
                old_scan, old_meta = scan.read_bytes() if scan.exists() else b"", meta.read_bytes()
                archive.server.generate(replace=step == "replace")
                assert {file.unique_value: file["n"] for file in archive.server.files} == truth
            else:
                name, n = arguments
                truth[name] = n
                path = archive.server_path / f"{name}.json"
                status = path.stat()
                if step == "write":
                    archive.write(name, n=n)
                elif step == "in place, same mtime":
                    path.write_bytes(json.dumps({"content_hash": name, "n": n}).encode())
                    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
                else:
                    source = archive.root / "source"
                    source.write_bytes(json.dumps({"content_hash": name, "n": n}).encode())
                    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
                    shutil.copy2(source, path)
        archive.server.generate()
        assert {file.unique_value: file["n"] for file in archive.server.files} == truth
