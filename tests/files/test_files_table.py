"""m.files as dataset's Table: what works and how, and what does not and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dataset
import pytest

from mmmeta import Metadir
from mmmeta.errors import (
    DuplicateFileError,
    FilterError,
    MassDeletionError,
    MetadirNotFoundError,
    MmmetaError,
    ReadOnlyMetadirError,
    UniqueValueError,
    UnknownKeyError,
    UnsupportedOperationError,
    ValueNotSupportedError,
)


@pytest.fixture
def metadir(tmp_path: Path) -> Iterator[Metadir]:
    """An empty server."""
    with Metadir(tmp_path / "with # and ?") as made:
        yield made


def content(metadir: Metadir, *, deleted: bool | None = False) -> dict[str, dict[str, Any]]:
    """Every file's metadata without the unique key."""
    return {
        file.unique_value: {key: value for key, value in file.items() if key != "content_hash"}
        for file in metadir.files.find(deleted=deleted)
    }


def test_every_public_name_of_dataset_is_there(metadir: Metadir) -> None:
    """Whoever knows dataset's Table finds each method and attribute."""
    ours = set(dir(metadir.files))
    theirs = {name for name in dir(dataset.Table) if not name.startswith("_") and not name.isupper()}
    assert not theirs - ours
    assert metadir.files.name == "files"


# insert


def test_insert(metadir: Metadir) -> None:
    """By names or as a mapping; nested values are flattened; a second time is an error that says what to do."""
    assert metadir.files.insert(content_hash="a", title="t", publisher={"name": "n", "tags": []}) == "a"
    assert metadir.files.insert({"content_hash": "b", "a.b": (1, 2)}, title="u") == "b"
    assert content(metadir) == {
        "a": {"title": "t", "publisher:name": "n", "publisher:tags": []},
        "b": {"a.b": [1, 2], "title": "u"},
    }
    with pytest.raises(DuplicateFileError, match="upsert"):
        metadir.files.insert(content_hash="a", title="other")
    assert content(metadir)["a"]["title"] == "t"


def test_keys_with_the_names_of_parameters_are_not_lost(metadir: Metadir) -> None:
    """``insert(**data)`` where the data has a key ``types`` or ``ensure``, which dataset's insert has as parameters."""
    metadir.files.insert(**{"content_hash": "a", "types": ["x"], "ensure": "yes"})
    metadir.files.upsert(**{"content_hash": "b", "types": "y"})
    metadir.files.insert({"content_hash": "c"}, True)
    assert content(metadir) == {"a": {"types": ["x"], "ensure": "yes"}, "b": {"types": "y"}, "c": {}}


def test_bad_rows(metadir: Metadir) -> None:
    """Each is refused, named, and leaves nothing behind."""
    metadir.files.insert(content_hash="there")
    for row, error in [
        ({"title": "t"}, UniqueValueError),
        ({"content_hash": None}, UniqueValueError),
        ({"content_hash": ""}, UniqueValueError),
        ({"content_hash": True}, UniqueValueError),
        ({"content_hash": "x", "a": float("nan")}, ValueNotSupportedError),
        ({"content_hash": "x", "a": object()}, ValueNotSupportedError),
        ({"content_hash": "x", "a": "\ud800"}, ValueNotSupportedError),
        ({"content_hash": "x", 1: "a"}, ValueNotSupportedError),
        ("text", ValueNotSupportedError),
    ]:
        for method in (metadir.files.insert, metadir.files.upsert, metadir.files.insert_ignore, metadir.files.update):
            with pytest.raises(error):
                method(row)  # type: ignore[operator]
        for many in (metadir.files.insert_many, metadir.files.upsert_many, metadir.files.update_many):
            with pytest.raises(error):
                many([{"content_hash": "good"}, row])  # type: ignore[operator]
    assert content(metadir) == {"there": {}}


def test_insert_ignore(metadir: Metadir) -> None:
    """What is there stays as it is."""
    metadir.files.insert(content_hash="a", foreign_id=1, title="t")
    assert metadir.files.insert_ignore({"content_hash": "a", "title": "u"}, ["content_hash"]) is False
    assert metadir.files.insert_ignore({"content_hash": "b", "foreign_id": 1}, ["foreign_id"]) is False
    assert metadir.files.insert_ignore({"content_hash": "c", "foreign_id": 2}, ["foreign_id"]) == "c"
    assert content(metadir) == {"a": {"foreign_id": 1, "title": "t"}, "c": {"foreign_id": 2}}


def test_insert_many_is_one_revision_or_nothing(metadir: Metadir) -> None:
    """Thousands of rows are one transaction; a duplicate among them, or a generator that breaks, writes none."""
    metadir.files.insert_many(({"content_hash": f"{number}", "n": number} for number in range(1_700)), chunk_size=10)
    assert len(metadir.files) == 1_700
    assert metadir.store["remote_revision"] == 1

    def breaking() -> Iterator[dict[str, Any]]:
        yield from ({"content_hash": f"new{number}", "new key": 1} for number in range(1_200))
        raise RuntimeError("the scraper broke")

    with pytest.raises(RuntimeError, match="scraper"):
        metadir.files.insert_many(breaking())
    with pytest.raises(DuplicateFileError):
        metadir.files.insert_many([{"content_hash": "x"}, {"content_hash": "x"}])
    assert len(metadir.files) == 1_700
    assert not metadir.files.has_column("new key")
    assert metadir.store["remote_revision"] == 1
    metadir.files.insert_many([])
    assert metadir.store["remote_revision"] == 1


# upsert


def test_upsert_changes_the_given_keys_only(metadir: Metadir) -> None:
    """By the unique key unless told otherwise; a row that changes nothing is no revision."""
    metadir.files.upsert({"content_hash": "a", "title": "t", "n": {"x": 1, "y": [2]}}, ["content_hash"])
    metadir.files.upsert(content_hash="a", n={"x": 2}, keys=["content_hash"])
    metadir.files.upsert({"content_hash": "a", "extra": None})
    expected = {"a": {"title": "t", "n:x": 2, "n:y": [2], "extra": None}}
    assert content(metadir) == expected
    assert metadir.store["remote_revision"] == 3
    metadir.files.upsert({"content_hash": "a", "title": "t"}, "content_hash")
    assert metadir.store["remote_revision"] == 3
    assert content(metadir) == expected


def test_upsert_by_another_key(metadir: Metadir) -> None:
    """The file found keeps its keys; a new unique value replaces the old file."""
    metadir.files.upsert({"content_hash": "a", "foreign_id": 1, "title": "t"}, ["foreign_id"])
    metadir.files.upsert({"foreign_id": 1, "title": "u"}, ["foreign_id"])
    assert content(metadir) == {"a": {"foreign_id": 1, "title": "u"}}
    metadir.files.upsert({"content_hash": "b", "foreign_id": 1, "pages": 3}, ["foreign_id"])
    assert content(metadir) == {"b": {"foreign_id": 1, "title": "u", "pages": 3}}
    old = metadir.files.get("a")
    assert old is not None
    assert "replaced" in str(old.deleted_reason)
    with pytest.raises(ValueNotSupportedError, match="foreign_id"):
        metadir.files.upsert({"content_hash": "c"}, ["foreign_id"])
    with pytest.raises(UniqueValueError):
        metadir.files.upsert({"foreign_id": "nobody's"}, ["foreign_id"])
    metadir.files.upsert({"$x": 1, "content_hash": "d"}, ["$x"])
    metadir.files.upsert({"$x": 1, "y": 2}, ["$x"])
    assert content(metadir)["d"] == {"$x": 1, "y": 2}


def test_upsert_keys_compare_by_type(metadir: Metadir) -> None:
    """The text "1" is not the number 1."""
    metadir.files.insert(content_hash="a", foreign_id=1)
    metadir.files.upsert({"content_hash": "b", "foreign_id": "1"}, ["foreign_id"])
    assert set(content(metadir)) == {"a", "b"}


def test_upsert_many_is_all_or_nothing(metadir: Metadir) -> None:
    """One revision; a file that comes twice is changed twice, also by other keys; an error undoes all of it."""
    rows = [{"content_hash": "a", "x": 1}, {"content_hash": "b", "x": 1}, {"content_hash": "a", "y": 2}]
    metadir.files.upsert_many(rows)
    assert content(metadir) == {"a": {"x": 1, "y": 2}, "b": {"x": 1}}
    assert metadir.store["remote_revision"] == 1
    metadir.files.upsert_many([{"content_hash": "c", "id": 1}, {"id": 1, "z": 3}], ["id"])
    assert content(metadir)["c"] == {"id": 1, "z": 3}
    before = content(metadir)
    with pytest.raises(ValueNotSupportedError):
        metadir.files.upsert_many([{"content_hash": "a", "x": 5}, {"content_hash": "b", "x": float("inf")}])
    assert content(metadir) == before
    assert metadir.update().revision == 2


def test_deleted_files_return(metadir: Metadir) -> None:
    """Inserted or upserted again, with the new metadata only."""
    metadir.files.insert(content_hash="a", old="x")
    for put in (metadir.files.insert, metadir.files.upsert, metadir.files.insert_ignore):
        assert metadir.files.delete(content_hash="a") is True
        assert content(metadir) == {}
        put({"content_hash": "a", "new": "y"})  # type: ignore[operator]
        assert content(metadir) == {"a": {"new": "y"}}


# update, delete


def test_update(metadir: Metadir) -> None:
    """Changes what is there, adds nothing, says how many."""
    metadir.files.insert_many({"content_hash": name, "kind": "k", "x": 1} for name in "abc")
    assert metadir.files.update({"content_hash": "a", "x": 2}) == 1
    assert metadir.files.update({"content_hash": "zz", "x": 2}, ["content_hash"]) == 0
    assert metadir.files.update({"kind": "k", "y": 3}, ["kind"], return_count=True) == 3
    assert metadir.files.update({"kind": "other", "y": 3}, ["kind"]) == 0
    metadir.files.update_many([{"content_hash": "b", "x": 5}, {"content_hash": "zz", "x": 5}], ["content_hash"])
    assert content(metadir) == {
        "a": {"kind": "k", "x": 2, "y": 3},
        "b": {"kind": "k", "x": 5, "y": 3},
        "c": {"kind": "k", "x": 1, "y": 3},
    }


def test_delete(metadir: Metadir) -> None:
    """Marks what matches; a filter on an unknown key deletes nothing, and more than half needs saying so."""
    assert metadir.files.delete(content_hash="a") is False
    metadir.files.insert_many({"content_hash": f"{number}", "n": number} for number in range(40))
    assert metadir.files.delete(n={"<": 3}) is True
    assert metadir.files.delete(n={"<": 3}) is False
    assert metadir.files.delete({"$any": [{"n": 3}, {"n": 4}]}) is True
    with pytest.raises(UnknownKeyError, match="nothing was deleted"):
        metadir.files.delete(imported=False)
    with pytest.raises(MassDeletionError):
        metadir.files.delete()
    assert len(metadir.files) == 35
    assert metadir.files.delete(allow_mass_delete=True) is True
    assert len(metadir.files) == 0
    assert len(content(metadir, deleted=True)) == 40


def test_writing_at_a_server_that_is_a_client_too(metadir: Metadir) -> None:
    """The state db follows at once, and what was set locally stays."""
    metadir.files.insert(content_hash="a", x=1)
    metadir.update()
    file = metadir.files.get("a")
    assert file is not None
    file["imported"] = True
    file.save()
    metadir.files.upsert(content_hash="a", x=2)
    metadir.files.insert(content_hash="b", x=1)
    assert content(metadir) == {"a": {"x": 2, "imported": True}, "b": {"x": 1}}
    assert not metadir.is_outdated


def test_a_client_cannot_write(archive: Any) -> None:
    """Every writing method says how to, and the copy stays byte for byte."""
    archive.write("a", x=1)
    archive.deliver()
    before = hashlib.sha256(archive.client.layout.meta_db.read_bytes()).digest()
    files = archive.client.files
    for write in (
        lambda: files.insert(content_hash="b"),
        lambda: files.insert_ignore({"content_hash": "b"}),
        lambda: files.insert_many([{"content_hash": "b"}]),
        lambda: files.upsert(content_hash="b"),
        lambda: files.upsert_many([{"content_hash": "b"}]),
        lambda: files.update({"content_hash": "a", "x": 2}),
        lambda: files.update_many([{"content_hash": "a", "x": 2}]),
        lambda: files.delete(content_hash="a"),
    ):
        with pytest.raises(ReadOnlyMetadirError, match="server=True"):
            write()
    assert before == hashlib.sha256(archive.client.layout.meta_db.read_bytes()).digest()
    assert not archive.client.is_server


def test_an_index_needs_the_state_db_at_a_client(archive: Any) -> None:
    """meta.db is the remote's; the index goes into the state db once there is one, and survives updates."""
    archive.write("a", x=1)
    archive.publish()
    with pytest.raises(MmmetaError, match="run update"):
        archive.client.files.create_index("x")
    archive.client.update()
    archive.client.files.create_index("x")
    archive.write("b", x=2)
    archive.deliver()
    assert archive.client.files.has_index("x")


# dataset's own objects


@pytest.mark.parametrize("state", [False, True])
def test_db_and_table_only_read(archive: Any, state: bool) -> None:
    """SQL of one's own works on what reading asks, refuses to write, and leaves meta.db as it is."""
    archive.write("a", {"x": 1, "a.b": True})
    archive.publish()
    if state:
        archive.client.update()
    metadir = archive.client
    before = metadir.layout.meta_db.read_bytes()
    there = {path.name for path in metadir.layout.metadir.iterdir()}
    database = metadir.files.db
    assert isinstance(database, dataset.Database)
    rows = list(database.query("SELECT content_hash, x FROM files WHERE x >= 1"))
    assert [dict(row) for row in rows] == [{"content_hash": "a", "x": 1}]
    assert "content_hash" in metadir.files.table.columns
    with pytest.raises(Exception, match=r"readonly|read-only|attempt to write"):
        database.query("DELETE FROM files")
    with pytest.raises(Exception, match=r"readonly|read-only|attempt to write"):
        database["files"].insert({"content_hash": "b"})
    database.close()
    assert before == metadir.layout.meta_db.read_bytes()
    assert there == {path.name for path in metadir.layout.metadir.iterdir()}
    if not state:
        assert not metadir.layout.state.exists()


def test_nothing_there(tmp_path: Path) -> None:
    """Reading an empty folder is one clear error, and makes nothing."""
    with Metadir(tmp_path / "empty") as metadir:
        assert metadir.files.exists is False
        for read in (
            lambda: len(metadir.files),
            lambda: metadir.files.find(),
            lambda: metadir.files.columns,
            lambda: metadir.files.db,
            lambda: metadir.files.create_index("x"),
            lambda: metadir.files.get("x"),
        ):
            with pytest.raises(MetadirNotFoundError):
                read()
    assert not (tmp_path / "empty").exists()


def test_a_fresh_server_finds_nothing(tmp_path: Path) -> None:
    """So that "find, else insert" works on the first run; where a metadata db was, its absence is an error."""
    (tmp_path / "_mmmeta").mkdir()
    (tmp_path / "_mmmeta" / "config.yml").write_text("metadata:\n  unique: id\n")
    with Metadir(tmp_path) as metadir:
        files = metadir.files
        assert (files.find_one(id="a", title={"like": "%x%"}), files.get("a"), "a" in files) == (None, None, False)
        assert (len(files), files.count(x=1), list(files), files.columns) == (0, 0, [], ["id"])
        assert list(files.find(order_by="-x", deleted=None)) == list(files.distinct("x")) == []
        assert sorted(path.name for path in (tmp_path / "_mmmeta").iterdir()) == ["config.yml"]
        if files.find_one(id="a") is None:
            assert files.insert(id="a") == "a"
        assert len(files) == 1
        metadir.layout.meta_db.unlink()
    with Metadir(tmp_path) as metadir, pytest.raises(MetadirNotFoundError):
        len(metadir.files)


def test_what_dataset_says_of_columns_is_refused_where_it_cannot_be_kept(metadir: Metadir) -> None:
    """Never ignored; asking for what is so anyway is no mistake."""
    files, row = metadir.files, {"content_hash": "a"}
    for write in (files.insert, files.insert_ignore, files.upsert, files.update):
        for options in ({"ensure": False}, {"types": {"x": "integer"}}):
            with pytest.raises(UnsupportedOperationError, match="cannot be kept"):
                write(row, **options)
    for write_many in (files.insert_many, files.upsert_many, files.update_many):
        with pytest.raises(UnsupportedOperationError, match="cannot be kept"):
            write_many([row], ensure=False)
    assert not files.exists
    assert files.insert(row, ensure=True) == "a"
    assert repr(files) == "<Table(files)>"


def test_what_a_metadir_does_not_do(metadir: Metadir) -> None:
    """The rest of dataset's Table says why not and what instead."""
    metadir.files.insert(content_hash="a", x=1)
    with pytest.raises(UnsupportedOperationError, match="exclude it in config"):
        metadir.files.drop_column("x")
    with pytest.raises(UnsupportedOperationError, match="columns come with"):
        metadir.files.create_column("y", "text")
    with pytest.raises(UnsupportedOperationError, match="columns come with"):
        metadir.files.create_column_by_example("y", 1)
    with pytest.raises(UnsupportedOperationError, match="replace=True"):
        metadir.files.drop()
    assert content(metadir) == {"a": {"x": 1}}


@pytest.mark.parametrize("limit", ["x", "1; DROP TABLE files", 1.5])
def test_a_limit_is_a_whole_number(metadir: Metadir, limit: Any) -> None:
    """Said by name, at once, and nothing reaches SQL."""
    metadir.files.insert(content_hash="a")
    for name in ("_limit", "_offset"):
        for find in (metadir.files.find, metadir.files.distinct):
            words = ("content_hash",) if find == metadir.files.distinct else ()
            with pytest.raises(FilterError, match=f"{name} takes a whole number"):
                find(*words, **{name: limit})
    assert len(list(metadir.files.find(_limit=None, _offset=None))) == 1


def test_reserved_keys_are_refused_by_name(metadir: Metadir) -> None:
    """Nothing that was handed in vanishes, and nothing is written."""
    metadir.files.insert(content_hash="a", n=1)
    for verb in (metadir.files.insert, metadir.files.upsert, metadir.files.update):
        with pytest.raises(ValueNotSupportedError, match="'__rev' cannot be set"):
            verb({"content_hash": "a", "n": 2, "__rev": 3})
    assert content(metadir) == {"a": {"n": 1}}
    assert metadir.revision == 1


def test_insert_returns_the_text_that_identifies_the_file(metadir: Metadir) -> None:
    """Also where the key holds an integer, which stays one."""
    assert metadir.files.insert(content_hash=5) == "5"
    file = metadir.files.get("5")
    assert file is not None
    assert (file.unique_value, file["content_hash"]) == ("5", 5)
