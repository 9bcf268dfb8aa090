"""What a remote has published, read where it lies: a folder, memory, a web server and an object store, well or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem
from servers import Web

from mmmeta import Metadir, Publication, read_publication
from mmmeta.errors import StoreAccessError

TEXT = "2026-05-04T10:00:00+00:00"
MOMENT = datetime(2026, 5, 4, 10, tzinfo=timezone.utc)
STORE = "_mmmeta/_store"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as server:
        yield server


def publish(web: Web, text: str | None = TEXT, revision: str | None = "7", base: str = "bucket/archive") -> str:
    """Let the server have a store; the base path to read it."""
    for key, value in (("remote_last_updated", text), ("remote_revision", revision)):
        if value is not None:
            web.objects[f"{base}/{STORE}/{key}"] = value.encode()
    return f"{web.url}/{base}"


def refused(base: str, timeout: float = 10) -> str:
    """The one line that says why nothing is known."""
    with pytest.raises(StoreAccessError) as caught:
        read_publication(base, timeout=timeout)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_read_as_a_path_and_as_a_url(tmp_path: Path) -> None:
    """What a generate left there, and nothing is created."""
    folder = tmp_path / "the archive"
    with Metadir(folder) as m:
        m.files.insert({"content_hash": "a"})
        text, moment = m.store.raw("remote_last_updated"), m.store.moment("remote_last_updated")
    assert text is not None
    for base in (folder, str(folder), folder.as_uri(), f"{folder}/"):
        assert read_publication(base) == Publication(text, moment, 1)
    assert refused(str(tmp_path / "b")) == f"{tmp_path / 'b' / STORE / 'remote_last_updated'} is not there"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("revision", [None, "", "seven", "1.5"])
def test_a_store_without_a_revision_says_when(revision: str | None, web: Web) -> None:
    """Half of it is better than nothing."""
    assert read_publication(publish(web, revision=revision)) == Publication(TEXT, MOMENT, None)


def test_memory_is_a_place_as_any_other() -> None:
    """A file system of fsspec's that is neither a folder nor a server."""
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/remote-store-test/{STORE}/remote_last_updated", f"{TEXT}\n".encode())
    memory.pipe(f"/remote-store-test/{STORE}/remote_revision", b"7")
    try:
        assert read_publication("memory://remote-store-test/") == Publication(f"{TEXT}\n", MOMENT, 7)
        assert refused("memory://other") == f"memory://other/{STORE}/remote_last_updated: is not there"
    finally:
        memory.rm("/remote-store-test", recursive=True)


def test_a_web_server_is_asked_once_for_each_key(web: Web) -> None:
    """Also below a slash, and with a signature behind the question mark, which goes along."""
    base = publish(web)
    assert read_publication(base) == Publication(TEXT, MOMENT, 7)
    keys = [f"/bucket/archive/{STORE}/{key}" for key in ("remote_last_updated", "remote_revision")]
    assert [web.asked[key] for key in keys] == [1, 1]
    assert read_publication(f"{base}/?sig=secret&x=1") == Publication(TEXT, MOMENT, 7)
    assert [web.asked[key] for key in keys] == [2, 2]


def test_an_object_store_is_read_with_what_fsspec_knows_of_it(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and credentials are fsspec's configuration, as for downloads."""
    pytest.importorskip("s3fs", reason="mmmeta[s3] is not installed")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": web.url, "key": "k", "secret": "s"})
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    publish(web)
    assert read_publication("s3://bucket/archive") == Publication(TEXT, MOMENT, 7)
    assert refused("s3://bucket/other") == f"s3://bucket/other/{STORE}/remote_last_updated: is not there"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "the server answered 404 Not Found"),
        ("", "holds '', which is no moment (yet)"),
        ("2026-0", "holds '2026-0', which is no moment (yet)"),
        ("<html>" * 20, "holds '<html><html><html><html><html><html><htm', which is no moment (yet)"),
        ("\0\0", "which is no moment (yet)"),
        ("7" * 70_000, "is no value of a store, it has 70,000 bytes"),
    ],
)
def test_a_store_that_is_missing_half_written_or_none_is_named(text: str | None, reason: str, web: Web) -> None:
    """With its address and in one line."""
    message = refused(publish(web, text))
    assert message.startswith(f"{web.url}/bucket/archive/{STORE}/remote_last_updated")
    assert message.endswith(reason)


def test_a_remote_that_is_not_reached_or_not_known_is_one_line(web: Web) -> None:
    """Whoever refuses: nobody listens, the name is unknown to fsspec, its package is not there."""
    assert "127.0.0.1:1/" in refused("http://127.0.0.1:1/archive")
    assert "nothing:// cannot be read here" in refused("nothing://archive")
    assert "smb://" in refused("smb://host/archive")


@pytest.mark.parametrize("path", ["silent", "drip"])
def test_a_remote_that_hangs_is_given_up(path: str, web: Web) -> None:
    """Whether it says nothing or does not come to an end."""
    begun = time.monotonic()
    message = refused(f"{web.url}/{path}/archive", timeout=0.3)
    assert time.monotonic() - begun < 5
    assert message == f"{web.url}/{path}/archive: no answer within 0.3 seconds"


def test_secrets_of_a_url_are_never_shown(web: Web) -> None:
    """User, password, signature, token: of whichever error."""
    host = web.url.removeprefix("http://")
    for path in ("bucket/none", "silent/x", "drip/x"):
        message = refused(f"http://me:pass@{host}/{path}?sig=hidden&token=hidden", timeout=0.3 if "x" in path else 10)
        assert "pass" not in message.replace("password", "")
        assert "hidden" not in message
        assert host in message
    publish(web, "garbage")
    assert "hidden" not in refused(f"{web.url}/bucket/archive?sig=hidden")


class Hanging(AbstractFileSystem):  # type: ignore[misc]
    """Stands for a mounted file server that is gone: whoever looks, waits."""

    protocol = "hanging"
    over = threading.Event()
    looks = 0

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        Hanging.looks += 1
        self.over.wait(60)
        raise FileNotFoundError(path)


def test_what_hangs_and_cannot_be_given_up_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often somebody looks; and it is looked at again when it has answered at last."""
    fsspec.register_implementation("hanging", Hanging, clobber=True)
    before = threading.active_count()
    try:
        assert "no answer within 0.1 seconds" in refused("hanging://archive", timeout=0.1)
        for _ in range(5):
            assert refused("hanging://archive") == "hanging://archive: an earlier look still waits for an answer"
        assert Hanging.looks == 1
        assert threading.active_count() <= before + 1
    finally:
        Hanging.over.set()
    deadline = time.monotonic() + 20
    while "an earlier look" in (message := refused("hanging://archive")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert message.endswith("is not there")
