"""What is pushed is what is here, in the order of publishing, and nothing that was not seen here is overwritten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from sync_places import Site, files_of, head_of, publish, synced

from mmmeta import mmmeta
from mmmeta.errors import DownloadError, LegacyMetadirError, SyncError
from mmmeta.sync import pull, push
from mmmeta.sync.elsewhere import StorePlace
from mmmeta.sync.folder import FolderPlace


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> str:
    return str(tmp_path / "there") if request.param == "folder" else memory


def test_only_what_is_missing_goes(server: Path, client: Path, place: str) -> None:
    """And clients have what the server has."""
    first = push(server, place)
    assert (first.revision_before, first.revision, first.is_new) == (None, 3, True)
    assert first.bytes == sum(map(len, synced(server).values()))
    again = push(server, place)
    assert (again.revision_before, again.is_new, again.files, again.bytes) == (3, False, 0, 0)
    publish(server, "d")
    third = push(server, place)
    assert (third.revision_before, third.revision, third.is_new, third.files) == (3, 4, True, 5)
    pull(client, place)
    assert synced(client) == synced(server)
    assert files_of(client) == files_of(server)


def test_the_order_is_that_of_publishing(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, config.yml, head.json, and what wakes clients last."""
    written: list[str] = []
    put, swap = FolderPlace.put, FolderPlace.swap
    monkeypatch.setattr(FolderPlace, "put", lambda self, name, *rest: written.append(name) or put(self, name, *rest))
    monkeypatch.setattr(FolderPlace, "swap", lambda self, name, *rest: written.append(name) or swap(self, name, *rest))
    push(server, str(tmp_path / "there"))
    assert written == [
        *(f"changes/{segment.name}" for segment in head_of(server).segments),
        "config.yml",
        "head.json",
        "_store/meta_last_updated",
        "_store/remote_revision",
        "_store/remote_last_updated",
    ]


def test_a_segment_that_is_named_no_more_goes_a_push_later(server: Path, client: Path, place: str) -> None:
    """A client that is on its way follows the head.json before."""
    push(server, place)
    before = head_of(server)
    for number in range(40):
        publish(server, f"more {number}")
    assert push(server, place).removed == 0
    publish(server, "last")
    report = push(server, place)
    gone = {segment.name for segment in before.segments} - {segment.name for segment in head_of(server).segments}
    assert report.removed == len(gone) > 0
    pull(client, place)
    assert set(os.listdir(client / "_mmmeta" / "changes")) == {segment.name for segment in head_of(server).segments}


def test_two_servers_publish_from_one_copy(server: Path, tmp_path: Path, place: str) -> None:
    """The second one is refused, at the same revision, at a higher and at a lower one; what is there stays."""
    fork = tmp_path / "fork"
    shutil.copytree(server, fork)
    push(server, place)
    publish(fork, "f")
    publish(server, "s")
    push(server, place)
    with pytest.raises(SyncError, match="the revision 4 that is there was never here: two servers publish from one"):
        push(fork, place)
    publish(fork, "g")
    with pytest.raises(SyncError, match="the revision 4 that is there was never here"):
        push(fork, place)
    publish(server, "t")
    publish(server, "u")
    push(server, place)
    with pytest.raises(SyncError, match="revision 6 is there, and here 5: another server has published"):
        push(fork, place)
    pull(tmp_path / "client", place)
    assert files_of(tmp_path / "client") == files_of(server)


def test_another_archive_is_not_overwritten(server: Path, tmp_path: Path, place: str) -> None:
    """Its id is named."""
    other = tmp_path / "other"
    publish(other, "x")
    push(other, place)
    with pytest.raises(SyncError, match=r"another archive's\. Nothing was overwritten") as caught:
        push(server, place)
    assert head_of(other).head.id in str(caught.value)


def test_an_archive_made_anew_follows_the_one_it_replaces(server: Path, tmp_path: Path, place: str) -> None:
    """Unless somebody went on with that one; the one that was replaced never comes back."""
    fork = tmp_path / "fork"
    shutil.copytree(server, fork)
    push(server, place)
    with mmmeta(server) as m:
        m.generate(replace=True, allow_mass_delete=True)
    publish(server, "z")
    assert push(server, place).is_new
    with pytest.raises(SyncError, match="the metadata db here was replaced by the one that is there"):
        push(fork, place)
    elsewhere = str(tmp_path / "elsewhere")
    for number in range(5):
        publish(fork, f"f{number}")
    push(fork, elsewhere)
    with pytest.raises(SyncError, match="of the metadata db that was replaced here is there: another server went on"):
        push(server, elsewhere)


def test_a_metadir_without_head_json_is_not_overwritten(server: Path, tmp_path: Path, memory: str) -> None:
    """Of an old version, or copied in part."""
    there = tmp_path / "there" / "_mmmeta"
    there.mkdir(parents=True)
    (there / "meta.db").write_bytes(b"")
    with pytest.raises(SyncError, match=r"there is a metadir without head\.json \(meta\.db\)"):
        push(server, str(tmp_path / "there"))
    (there / "meta.db").rename(there / "state.db")
    with pytest.raises(LegacyMetadirError):
        push(server, str(tmp_path / "there"))
    assert os.listdir(there) == ["state.db"]
    fsspec.filesystem("memory").pipe("/synced/archive/_mmmeta/state.db", b"x")
    with pytest.raises(SyncError, match=r"there is a metadir without head\.json \(state\.db\)"):
        push(server, memory)


def test_a_head_that_was_written_meanwhile_is_not_overwritten(
    server: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once more before it is."""
    fork = tmp_path / "fork"
    push(server, place)
    shutil.copytree(server, fork)
    publish(server, "s")
    publish(fork, "f")
    kind: Any = StorePlace if "://" in place else FolderPlace
    swap = kind.swap

    def overtaken(self: Any, name: str, *rest: Any) -> bool:
        monkeypatch.setattr(kind, "swap", swap)
        if name == "head.json":
            monkeypatch.setattr(kind, "alone", lambda self: __import__("contextlib").nullcontext())
            push(fork, place)
        return bool(swap(self, name, *rest))

    monkeypatch.setattr(kind, "swap", overtaken)
    with pytest.raises(
        SyncError, match=r"head\.json was written by somebody else meanwhile: two servers publish there"
    ):
        push(server, place)
    pull(tmp_path / "client", place)
    assert files_of(tmp_path / "client") == files_of(fork)


def test_a_head_that_cannot_be_read_is_not_overwritten(server: Path, tmp_path: Path) -> None:
    """Nobody can say which revision is there."""
    there = tmp_path / "there" / "_mmmeta"
    there.mkdir(parents=True)
    (there / "head.json").write_text("{")
    with pytest.raises(SyncError, match="so nobody can say which revision is there"):
        push(server, str(tmp_path / "there"))
    assert (there / "head.json").read_text() == "{"


def test_a_web_server_is_only_read(server: Path, site: Site) -> None:
    """Said at once, with what to push to instead."""
    with pytest.raises(SyncError, match=r"a web server is only read\. Push to the place that it serves") as caught:
        push(server, site.url)
    assert "again" not in str(caught.value)


def test_where_nothing_is_published_nothing_is_pushed(tmp_path: Path) -> None:
    """The folder one level too deep is met with a word, too."""
    with pytest.raises(SyncError, match=r"head\.json is not there; run `mmmeta generate` first"):
        push(tmp_path, str(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_a_damaged_segment_is_not_pushed(server: Path, tmp_path: Path) -> None:
    """What is published shall be whole."""
    path = server / "_mmmeta" / "changes" / "2-2.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(
        SyncError,
        match=r"2-2\.jsonl\.gz is not the segment that head\.json names.*`mmmeta generate` writes it anew, and then push again",
    ):
        push(server, str(tmp_path / "there"))
    assert not (tmp_path / "there" / "_mmmeta" / "head.json").exists()


def test_a_push_that_fails_for_a_moment_is_tried_again(
    server: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file by itself; what is refused is not tried again."""
    failures = iter(range(3))
    put = StorePlace.put

    def flaky(self: StorePlace, name: str, *rest: Any) -> None:
        if next(failures, None) is not None:
            raise DownloadError("for a moment")
        put(self, name, *rest)

    monkeypatch.setattr(StorePlace, "put", flaky)
    assert push(server, memory).is_new
    tried: list[str] = []

    def refused(self: StorePlace, name: str, *rest: Any) -> None:
        tried.append(name)
        raise DownloadError("no permission", is_refused=True)

    monkeypatch.setattr(StorePlace, "put", refused)
    publish(server, "d")
    with pytest.raises(SyncError, match=r"no permission$"):
        push(server, memory)
    assert tried == ["changes/4-4.jsonl.gz"]
    assert fsspec.filesystem("memory").exists("/synced/archive/_mmmeta/head.json")
