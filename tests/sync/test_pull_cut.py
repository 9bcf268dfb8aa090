"""Pulls that are cut off, killed, or meet a remote that lies: what was here stays, and the next one goes on."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sync_places import Site, files_of, head_of, publish, synced

from mmmeta import mmmeta
from mmmeta.errors import MmmetaError, SyncError
from mmmeta.sync import pull

HEAD = "_mmmeta/head.json"
SECOND = "_mmmeta/changes/2-2.jsonl.gz"


@pytest.fixture
def large(server: Path) -> Path:
    """The server, with a segment of some hundred thousand bytes, and a small one."""
    with mmmeta(server) as m:
        m.files.insert_many({"content_hash": f"n{number}", "text": os.urandom(400).hex()} for number in range(500))
    publish(server, "x")
    assert [segment.name for segment in head_of(server).segments] == ["1-4.jsonl.gz", "5-5.jsonl.gz"]
    return server


LARGE = "_mmmeta/changes/1-4.jsonl.gz"


def with_head(server: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """What the server's head.json would be with a change."""
    head = json.loads((server / HEAD).read_text())
    change(head)
    return json.dumps(head).encode()


def test_what_was_cut_goes_on_where_it_was(large: Path, client: Path, site: Site) -> None:
    """Within one pull, by the web server's part."""
    site.cut[LARGE] = 100_000
    report = pull(client, site.url)
    assert site.ranges[LARGE] == ["bytes=100000-"]
    assert report.revision == 5
    assert files_of(client) == files_of(large)


def test_the_next_pull_goes_on_where_the_last_one_was_cut(
    large: Path, client: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments that were whole do not come again, and of the others only the rest."""
    monkeypatch.setattr("mmmeta.sync.patience.ATTEMPTS", 1)
    site.cut[LARGE] = 100_000
    site.parts = False
    with pytest.raises(
        SyncError, match=r"cut short after 100000 of .*Nothing was changed here, and what has come is kept"
    ):
        pull(client, site.url)
    assert os.listdir(client / "_mmmeta") == [".pull"]
    small = head_of(large).segments[1]
    is_whole = (client / "_mmmeta" / ".pull" / f"{small.sha256}.gz").exists()  # they come at the same time
    site.parts = True
    site.asked.clear()
    site.sent = 0
    pull(client, site.url)
    assert site.ranges[LARGE] == ["bytes=100000-"]
    assert site.asked["_mmmeta/changes/5-5.jsonl.gz"] == (0 if is_whole else 1)
    assert not (client / "_mmmeta" / ".pull").exists()
    assert files_of(client) == files_of(large)


def test_meta_db_goes_on_in_the_version_in_which_it_began(
    large: Path, client: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is begun anew."""
    os.remove(large / HEAD)
    monkeypatch.setattr("mmmeta.sync.patience.ATTEMPTS", 1)
    name = "_mmmeta/meta.db"
    site.cut[name] = 150_000
    original = (large / name).read_bytes()
    monkeypatch.setattr("mmmeta.documents.http_source.HttpSource._goes_on", lambda *rest: False)
    with pytest.raises(SyncError, match="cut short after 150000 of"):
        pull(client, site.url)
    pull(client, site.url)
    assert site.ranges[name] == ["bytes=150000-"]
    assert (client / name).read_bytes() == original
    publish(large, "z")
    os.remove(large / HEAD)
    site.cut[name] = 150_000
    with pytest.raises(SyncError, match="cut short after 150000 of"):
        pull(client, site.url)
    publish(large, "y")
    os.remove(large / HEAD)
    monkeypatch.setattr("mmmeta.sync.patience.ATTEMPTS", 3)
    pull(client, site.url)
    assert files_of(client) == files_of(large)


@pytest.mark.parametrize("statuses", [[500], [503, 502], [429]])
def test_a_server_that_is_busy_is_asked_again(statuses: list[int], client: Path, site: Site, server: Path) -> None:
    """For head.json as for a segment."""
    site.status = {HEAD: list(statuses), SECOND: list(statuses)}
    pull(client, site.url)
    assert files_of(client) == files_of(server)


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_refused_is_not_asked_again(status: int, client: Path, site: Site) -> None:
    """And said with the server's word."""
    site.status = {SECOND: [status]}
    with pytest.raises(SyncError, match=f"2-2.jsonl.gz: the server answered {status}"):
        pull(client, site.url)
    assert site.asked[SECOND] == 1
    assert os.listdir(client / "_mmmeta") == [".pull"]


LIES: dict[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "short": (lambda one, other: one[:-10], r"has \d+ bytes and not the \d+ that head\.json says"),
    "longer": (lambda one, other: one + b"x" * 10, r"has \d+ bytes and not the \d+ that head\.json says"),
    "corrupted": (lambda one, other: one[:-1] + bytes([one[-1] ^ 1]), r"has another SHA-256 than head\.json says"),
    "another": (lambda one, other: other, "than head.json says|that head.json says"),
    "empty": (lambda one, other: b"", "has 0 bytes and not the"),
    "a gzip bomb": (lambda one, other: gzip.compress(bytes(30_000_000)), "bytes and not the"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_segment_that_is_not_what_head_json_says(lie: str, server: Path, client: Path, site: Site) -> None:
    """Is named, and the copy stays as it was, whether or not there was one before; when it is mended, it comes."""
    change, said = LIES[lie]
    name = "_mmmeta/changes/4-4.jsonl.gz"
    for there in (False, True):
        if there:
            pull(client, site.url)
        before = synced(client) if there else {}
        publish(server, "d") if there else None
        path = name if there else SECOND
        site.instead[path] = change(
            (server / path).read_bytes(), (server / "_mmmeta/changes/1-1.jsonl.gz").read_bytes()
        )
        with pytest.raises(SyncError, match=said) as caught:
            pull(client, site.url)
        assert path.rpartition("/")[2] in str(caught.value)
        assert {name: content for name, content in synced(client).items() if not name.startswith(".pull")} == before
        site.instead.clear()
    pull(client, site.url)
    assert files_of(client) == files_of(server)


def test_a_segment_that_claims_ten_gigabytes_is_not_begun(server: Path, client: Path, site: Site) -> None:
    """Where there is no room for it; and where there is, no more is read than there is."""
    site.instead[HEAD] = with_head(server, lambda head: head["segments"][1].update(bytes=10**17))
    with pytest.raises(SyncError, match=r"100,000,000,000,000,\d\d\d bytes are to be fetched, and .* has room for"):
        pull(client, site.url)
    assert site.asked[SECOND] == 0


def test_a_server_that_sends_without_an_end_is_left(server: Path, client: Path) -> None:
    """After as many bytes as head.json says."""
    from mmmeta.sync.fetch import Fetcher, Wanted

    read = 0

    class Endless:
        start, size, version = 0, None, None

        def chunks(self) -> Any:
            nonlocal read
            while True:
                read += 1000
                yield b"x" * 1000

        def verify(self, size: int) -> None:
            raise AssertionError

    class Place:
        shown, at_once = "place", 1

        def open(self, *rest: Any) -> Any:
            from contextlib import nullcontext

            return nullcontext(Endless())

    client.mkdir()
    with pytest.raises(Exception, match=r"has more than the 5,000 bytes that head\.json says"):
        Fetcher(Place(), lambda size: None, threading.Event()).one(Wanted("x", client / "x", 5_000, "0" * 64))  # type: ignore[arg-type]
    assert read == 6000
    assert (client / "x").stat().st_size == 0


HEADS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "cut": (lambda server: (server / HEAD).read_bytes()[:-20], "is not whole, or not what a server writes"),
    "no json": (lambda server: b"<html>", "is not whole, or not what a server writes"),
    "too large": (lambda server: b" " * 5_000_000, "has more than 4,000,000 bytes"),
    "too new": (
        lambda server: with_head(server, lambda head: head.update(format=2)),
        "this version reads up to 1: upgrade",
    ),
    "a gap": (
        lambda server: with_head(server, lambda head: head["segments"].pop(1)),
        "after revision 1 its segments go on",
    ),
    "doubled": (
        lambda server: with_head(server, lambda head: head["segments"].insert(1, head["segments"][0])),
        "after revision 1 its segments go on with 1",
    ),
    "swapped": (lambda server: with_head(server, lambda head: head["segments"].reverse()), "after revision 3"),
    "no beginning": (lambda server: with_head(server, lambda head: head["segments"].pop(0)), "begins with revision 2"),
    "a path": (
        lambda server: with_head(server, lambda head: head["segments"][0].update(first="../../x")),
        "first is '../../x'",
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_head_json_that_is_none(head: str, server: Path, client: Path, site: Site) -> None:
    """Is refused, with nothing brought."""
    make, said = HEADS[head]
    site.instead[HEAD] = make(server)
    with pytest.raises(MmmetaError, match=said):
        pull(client, site.url)
    assert not any(name.startswith("_mmmeta/changes") for name in site.asked)
    assert synced(client) == {}


def test_a_remote_that_is_being_written_is_waited_for(server: Path, client: Path, site: Site) -> None:
    """Its head.json came before its segment."""
    content = (server / SECOND).read_bytes()
    os.remove(server / SECOND)
    timer = threading.Timer(0.05, lambda: (server / SECOND).write_bytes(content))
    timer.start()
    try:
        pull(client, site.url)
    finally:
        timer.join()
    assert files_of(client) == files_of(server)


def test_a_segment_that_never_comes_is_named(server: Path, client: Path, site: Site) -> None:
    """After it was waited for."""
    os.remove(server / SECOND)
    with pytest.raises(
        SyncError,
        match=r"changes/2-2\.jsonl\.gz: the server answered 404 .*changed here\. It may be written .*`mmmeta generate`",
    ):
        pull(client, site.url)
    assert site.asked[SECOND] > 1
    assert not (client / HEAD).exists()


def test_pulls_while_the_server_publishes(server: Path, client: Path) -> None:
    """Each leaves one revision whole, and never goes back."""
    over = threading.Event()

    def publish_on() -> None:
        try:
            for number in range(40):
                publish(server, f"more {number}", f"again {number % 3}", number=number)
        finally:
            over.set()

    thread = threading.Thread(target=publish_on)
    thread.start()
    seen = [0]
    try:
        while not over.is_set():
            report = pull(client, str(server))
            with mmmeta(client) as m:
                assert m.update().revision == report.revision
            assert report.revision is not None
            seen.append(report.revision)
    finally:
        thread.join()
    pull(client, str(server))
    assert sorted(seen) == seen
    assert len(set(seen)) > 3
    assert files_of(client) == files_of(server)


def test_a_publication_that_comes_meanwhile_is_taken(server: Path, client: Path, site: Site) -> None:
    """Segments that were merged away are not there any more; head.json is read again."""
    pull(client, site.url)
    publish(server, "d")
    old = (server / HEAD).read_bytes()
    for number in range(40):
        publish(server, f"more {number}")
    os.remove(server / "_mmmeta" / "changes" / "4-4.jsonl.gz")  # swept away, as it is an hour later
    site.instead[HEAD] = old
    timer = threading.Timer(0.03, site.instead.clear)
    timer.start()
    try:
        report = pull(client, site.url)
    finally:
        timer.join()
    assert report.revision == head_of(server).head.revision
    assert files_of(client) == files_of(server)


def test_what_is_damaged_here_is_mended(server: Path, client: Path) -> None:
    """A segment that was cut, changed or taken away since it came, and a head.json that cannot be read."""
    pull(client, str(server))
    wanted = synced(server)
    changes = client / "_mmmeta" / "changes"
    whole = (changes / "2-2.jsonl.gz").read_bytes()
    for damage in (
        lambda: (changes / "1-1.jsonl.gz").unlink(),
        lambda: (changes / "2-2.jsonl.gz").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])),
        lambda: os.truncate(changes / "3-3.jsonl.gz", 20),
        lambda: (client / HEAD).write_text("{"),
        lambda: (client / HEAD).unlink(),
        lambda: (client / "_mmmeta" / "_store" / "remote_revision").write_text("99"),
    ):
        damage()
        pull(client, str(server))
        assert synced(client) == wanted
    assert pull(client, str(server)).files == 0


KILLED = """
import os, signal, sys
from mmmeta.sync import pull
steps = 0
def counted(call):
    def step(*arguments, **options):
        global steps
        steps += 1
        if steps == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return step
for name in ("replace", "fsync", "unlink", "rmdir", "utime"):
    setattr(os, name, counted(getattr(os, name)))
pull(sys.argv[1], sys.argv[2])
"""


def test_killed_anywhere_the_copy_is_whole_and_the_next_pull_goes_on(server: Path, client: Path) -> None:
    """Before each of the steps that leave something on the disk."""
    pull(client, str(server))
    before = files_of(client)
    for number in range(30):
        publish(server, f"more {number}")
    wanted = files_of(server)
    for step in range(1, 60, 3):
        ended = subprocess.run([sys.executable, "-c", KILLED, client, server, str(step)], check=False)
        found = files_of(client)
        assert found in (before, wanted)
        before = found
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    assert step > 5
    assert synced(client) == {name: content for name, content in synced(server).items() if name in synced(client)}
    assert {name for name in synced(client) if name.startswith(".")} == set()
    assert found == wanted
