"""File: the remote's metadata with the client's own values over it, saved field by field."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import File, Metadir
from mmmeta.errors import (
    MmmetaError,
    RemoteKeyError,
    RemoteNameError,
    StateDbError,
    ValueNotSupportedError,
)


def file_of(metadir: Metadir, name: str = "a") -> File:
    file = metadir.files.get(name)
    assert file is not None
    return file


def test_reads_as_a_mapping(archive: Archive) -> None:
    """Getting, iterating, comparing; a missing key is met with the near misses."""
    archive.write("a", {"title": "t", "publisher": {"name": "n"}, "nothing": None})
    archive.deliver()
    file = file_of(archive.client)
    expected = {"content_hash": "a", "title": "t", "publisher:name": "n", "nothing": None}
    assert dict(file) == expected
    assert dict(file.meta) == expected
    assert (len(file), "title" in file, "titel" in file, "nothing" in file) == (4, True, False, True)
    assert (file.get("titel"), file.get("titel", 5), file.get("nothing", 5)) == (None, 5, None)
    with pytest.raises(KeyError, match=r"'titel'.*'title'"):
        file["titel"]
    assert (file.unique_value, file.source, file.revision, file.deleted) == ("a", "a.json", 1, False)
    assert len(file.fingerprint) == 32
    assert repr(file) == "<File a (4 keys)>"
    assert not file.local


def test_saves_only_the_fields_that_were_set(archive: Archive) -> None:
    """Two stale File objects do not erase what the other saved."""
    archive.write("a")
    archive.deliver()
    first, second = file_of(archive.client), file_of(archive.client)
    first["imported"] = True
    first["count"] = 1
    second["checked"] = date(2026, 3, 1)
    second["count"] = 2
    first.save()
    second.save()
    assert dict(file_of(archive.client).local) == {"imported": True, "count": 2, "checked": "2026-03-01"}
    del first["count"]
    first.save()
    assert dict(file_of(archive.client).local) == {"imported": True, "checked": "2026-03-01"}
    second["imported"] = False
    second.save()
    first.save()  # nothing left to save
    assert file_of(archive.client)["imported"] is False


def test_nothing_is_written_before_save(archive: Archive) -> None:
    """Setting, updating and deleting stay in the object."""
    archive.write("a")
    archive.deliver()
    before = archive.client.status().state_revision
    file = file_of(archive.client)
    file.update({"x": 1, "y": [1, {"z": None}]}, w="w")
    file.setdefault("x", 5)
    assert file.pop("w") == "w"
    assert (file["x"], file["y"]) == (1, [1, {"z": None}])
    assert "x" not in file_of(archive.client)
    assert archive.client.status().state_revision == before
    file.save()
    assert dict(file_of(archive.client).local) == {"x": 1, "y": [1, {"z": None}]}
    assert archive.client.status().state_revision == before + 1


@pytest.mark.parametrize(
    "value", [True, False, 0, 1, 2**70, 1.0, "00123", "", None, [], {}, [{"a": {"b": 1}}], [1, "x"], -0.5]
)
def test_values_come_back_as_they_were(archive: Archive, value: Any) -> None:
    """In value and type, also after a value of another type under the same key."""
    archive.write("a")
    archive.write("b")
    archive.deliver()
    other = file_of(archive.client, "b")
    other["x"] = "another type"
    other.save()
    file = file_of(archive.client)
    file["x"] = value
    file.save()
    again = file_of(archive.client)["x"]
    assert (value, type(value)) == (again, type(again))
    assert file_of(archive.client, "b")["x"] == "another type"


def test_a_key_that_only_other_files_have(archive: Archive) -> None:
    """Reads as None, as in a row of a table; one that no file has is an error, and what the file itself has stays told."""
    archive.write("a", title="t")
    archive.write("b", pages=3)
    archive.deliver()
    file = file_of(archive.client, "b")
    assert (file["title"], file.get("title", "untitled"), "title" in file) == (None, "untitled", False)
    assert dict(file) == {"content_hash": "b", "pages": 3}
    with pytest.raises(KeyError, match=r"no file has the key 'titel'.*'title'"):
        file["titel"]
    with pytest.raises(KeyError):
        file.pop("title")
    assert file.pop("title", 5) == 5
    assert file.setdefault("title", "mine") == "mine"
    file.save()
    assert file_of(archive.client, "b")["title"] == "mine"
    assert file.pop("title") == "mine"
    assert file["title"] is None
    archive.client.job("look").run(lambda file: file["pages"])  # one of them has none
    assert archive.client.job("look").status().done == 2


def test_columns_of_mmmeta_are_in_a_file(archive: Archive) -> None:
    """They are read by name; what is iterated over is metadata."""
    archive.write("a", title="t")
    archive.deliver()
    file = file_of(archive.client)
    assert "__meta_added" in file
    assert file.get("__meta_added") == file["__meta_added"]
    assert "__meta_addd" not in file
    assert "__meta_added" not in dict(file)


def test_shadows(archive: Archive) -> None:
    """What the client sets hides the remote's key until it is deleted; file.meta reads the remote's throughout."""
    archive.write("a", title="remote", n=1)
    archive.deliver()
    file = file_of(archive.client)
    file["title"] = "mine"
    file["n"] = None
    file.save()
    archive.write("a", title="remote 2", n=2)
    archive.deliver()
    file = file_of(archive.client)
    assert (file["title"], file["n"], file.get("n", 5)) == ("mine", None, None)
    assert (file.meta["title"], file.meta["n"]) == ("remote 2", 2)
    assert len(file) == 3
    assert archive.client.inspect().shadowed == ("n", "title")
    del file["title"]
    assert file["title"] == "remote 2"
    file.save()
    assert file_of(archive.client)["title"] == "remote 2"
    with pytest.raises(RemoteKeyError, match="shadow"):
        del file["title"]
    with pytest.raises(KeyError):
        del file["nothing"]
    with pytest.raises(RemoteKeyError):
        file.pop("title", None)


def test_a_key_that_the_remote_gets_later(archive: Archive) -> None:
    """The client's value was there first and goes on hiding it."""
    archive.write("a")
    archive.deliver()
    file = file_of(archive.client)
    file["state"] = "mine"
    file.save()
    archive.write("a", state="remote")
    archive.deliver()
    file = file_of(archive.client)
    assert (file["state"], file.meta["state"]) == ("mine", "remote")


def test_what_cannot_be_set(archive: Archive) -> None:
    """Reserved names, the unique key, values that cannot be kept; meta is read-only."""
    archive.write("a")
    archive.deliver()
    file = file_of(archive.client)
    for key in ("__rev", "", "content_hash", 5):
        with pytest.raises(MmmetaError):
            file[key] = 1  # type: ignore[index]
    for value in (float("nan"), object(), b"bytes", "\ud800", {1: 2}):
        with pytest.raises(ValueNotSupportedError, match="x"):
            file["x"] = value
    with pytest.raises(ValueNotSupportedError):
        file["\ud800"] = 1
    with pytest.raises(TypeError):
        file.meta["x"] = 1  # type: ignore[index]
    file.save()
    assert dict(file_of(archive.client)) == {"content_hash": "a"}


def test_saving_before_the_first_update(archive: Archive) -> None:
    """A file read from meta.db: saving merges first. meta.db stays as it is."""
    archive.write("a", x=1)
    archive.publish()
    before = archive.client.layout.meta_db.read_bytes()
    file = file_of(archive.client)
    file["imported"] = True
    file.save()
    assert archive.client.files.count(imported=True) == 1
    assert before == archive.client.layout.meta_db.read_bytes()
    assert archive.client.store["local_revision"] == 1


def test_saving_a_file_that_came_after_the_last_update(archive: Archive) -> None:
    """It is not in the state db yet, and the error says so."""
    archive.write("a")
    archive.deliver()
    archive.write("b")
    archive.server.generate()
    stranger = file_of(archive.server, "b")
    with Metadir(archive.client_path) as other, pytest.raises(StateDbError, match=r"'b'.*update"):
        other._backend.state.save(stranger.unique_value, {"x": 1}, set())


def test_a_deleted_file_keeps_what_was_set(archive: Archive) -> None:
    """It can be read and saved while deleted, and comes back with its local values."""
    archive.write("a", x=1)
    archive.deliver()
    file = file_of(archive.client)
    file["imported"] = True
    file.save()
    archive.server.files.delete(content_hash="a")
    archive.sync()
    archive.client.update()
    file = file_of(archive.client)
    assert (file.deleted, file["imported"], len(archive.client.files)) == (True, True, 0)
    file["note"] = "gone"
    file.save()
    archive.write("a", x=2)
    archive.deliver()
    assert dict(file_of(archive.client)) == {"content_hash": "a", "x": 2, "imported": True, "note": "gone"}


def test_remote_templates(archive: Archive) -> None:
    """URLs from config.yml as attributes, filled from the file, the client's values included."""
    config = archive.server.layout.config
    config.parent.mkdir(parents=True)
    config.write_text(
        "remote:\n  url: https://example.org/{_file_name}\n  page: https://example.org/{publisher:id}/{content_hash}\n"
    )
    archive.write("a", {"_file_name": "a b/c#.pdf", "publisher": {"id": 5}, "public_url": "https://x/a.pdf"})
    archive.deliver()
    file = file_of(archive.client)
    assert file.remote.url == "https://example.org/a%20b/c%23.pdf"
    assert file.remote.page == "https://example.org/5/a"
    assert file["public_url"] == "https://x/a.pdf"
    with pytest.raises(RemoteNameError, match="url"):
        _ = file.remote.urll


def test_many_keys_of_ones_own(archive: Archive) -> None:
    """Past 500 of them they share a column, and nothing changes for the reader."""
    archive.write("a")
    archive.deliver()
    file = file_of(archive.client)
    values: dict[str, Any] = {f"key {number}": number for number in range(520)}
    values["key 519"] = [{"nested": [2**70, True]}]
    file.update(values)
    file.save()
    assert dict(file_of(archive.client).local) == values
    file = file_of(archive.client)
    del file["key 519"]
    file["key 518"] = False
    file.save()
    assert archive.client.files.count({"key 518": False, "key 519": None, "key 517": 517}) == 1


def test_threads_save_at_once(archive: Archive) -> None:
    """Each saves its own fields of the same files; none is lost."""
    for name in "abcde":
        archive.write(name)
    archive.deliver()
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for file in archive.client.files:
                file[f"thread{number}"] = number
                file.save()
        except Exception as error:  # pytest has to see what a thread met
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    expected = {f"thread{number}": number for number in range(6)}
    assert [dict(file.local) for file in archive.client.files] == [expected] * 5


def test_metadirs_of_two_processes_do_not_disturb_each_other(archive: Archive, tmp_path: Path) -> None:
    """A Metadir that was opened before sees what another saved."""
    archive.write("a")
    archive.deliver()
    with Metadir(archive.client_path) as other:
        mine, theirs = file_of(archive.client), file_of(other)
        theirs["new key"] = "x"
        theirs.save()
        mine["other key"] = 1
        mine.save()
        assert dict(file_of(other).local) == {"new key": "x", "other key": 1}
        assert archive.client.files.count({"new key": "x"}) == 1


def test_an_object_is_flattened_as_the_remotes_are(archive: Archive) -> None:
    """Read and found by the names of what is in it; a new one takes the old one's place, and no more than that."""
    archive.write("a", {"review": {"at": "noon"}})
    archive.deliver()
    file = file_of(archive.client)
    file.update({"review": {"by": "Ada", "of": {"pages": 2}, "tags": [{"x": 1}]}, "reviewed": True})
    own = {"review:by": "Ada", "review:of:pages": 2, "review:tags": [{"x": 1}], "reviewed": True}
    assert dict(file.local) == own
    file.save()
    assert dict(file_of(archive.client)) == {"content_hash": "a", "review:at": "noon", **own}
    assert archive.client.files.count({"review:of:pages": 2}) == 1
    file["review"] = {"at": "night", "by": "Eve"}
    file.save()
    expected = {"review:at": "night", "review:by": "Eve", "reviewed": True}
    assert dict(file.local) == dict(file_of(archive.client).local) == expected
    file["review"] = {}
    file.save()
    found = file_of(archive.client)
    assert dict(found.local) == {"review": {}, "reviewed": True}
    assert found["review:at"] == "noon"


def test_what_identifies_a_file_cannot_be_set_within_an_object(archive: Archive) -> None:
    """Neither can it by its own name."""
    archive.server_path.joinpath("_mmmeta").mkdir()
    archive.server.layout.config.write_text("metadata: {unique: 'id:number'}\n")
    archive.write("a", {"id": {"number": 1}})
    archive.deliver()
    file = file_of(archive.client, "1")
    with pytest.raises(MmmetaError, match="identifies the file"):
        file["id"] = {"number": 2}
    assert not file.local


def test_a_file_that_is_to_be_emptied(archive: Archive) -> None:
    """What the remote sent cannot go, which is said; nothing is removed."""
    archive.write("a", {"title": "t"})
    archive.deliver()
    file = file_of(archive.client)
    file["mine"] = 1
    with pytest.raises(RemoteKeyError, match="comes from the remote"):
        file.clear()
    assert dict(file) == {"content_hash": "a", "title": "t", "mine": 1}
