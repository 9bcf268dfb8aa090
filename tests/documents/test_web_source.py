"""Downloads from real servers: what misbehaves is one clear error, and never half a document."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import CONTENT, Web

from mmmeta.documents.source import Deadline
from mmmeta.documents.transfer import download
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError
from mmmeta.masking import shown

SHA1 = hashlib.sha1(CONTENT).hexdigest()
EMPTY = hashlib.sha1(b"").hexdigest()
ALL = ("http", "https", "s3", "gs", "az", "abfs")


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as server:
        yield server


@pytest.fixture
def sources() -> Iterator[WebSources]:
    made = WebSources(ALL)
    yield made
    made.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads" / "a.pdf"


def fetch(url: str, target: Path, sources: WebSources, seconds: float = 30, **expected: Any) -> int:
    return download(
        url, target, allowed_roots=[], web=sources, deadline=Deadline(shown(url), seconds), **expected
    ).bytes


def refused(url: str, target: Path, sources: WebSources, seconds: float = 30, **expected: Any) -> str:
    """The message of a download that fails; nothing is left of it."""
    before = {path: path.read_bytes() for path in target.parent.iterdir()}
    with pytest.raises(DownloadError) as caught:
        fetch(url, target, sources, seconds, **expected)
    assert {path: path.read_bytes() for path in target.parent.iterdir()} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", ["/good.pdf", "/moved", "/unannounced", "/b ü/good.pdf", "/b%20%C3%BC/good.pdf"])
def test_a_document_is_fetched_and_checked(path: str, web: Web, target: Path, sources: WebSources) -> None:
    """Also after a redirect, without a length, and with letters that an address cannot have."""
    for expected in ({}, {"expected_digest": SHA1}, {"expected_size": len(CONTENT)}):
        target.unlink(missing_ok=True)
        assert fetch(web.url + path, target, sources, **expected) == len(CONTENT)
        assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", "the server answered 404 Not Found"),
        ("/500", "the server answered 500 Internal Server Error"),
        ("/nothing", "the server answered 204 No Content"),
        ("/short", "cut short"),
        ("/unchunked", "cut short"),
        ("/loop", "redirects more than 10 times"),
        ("/to-file", "edirect"),
        ("/to-ftp", "edirect"),
        ("/empty", "the answer is empty"),
    ],
)
@pytest.mark.parametrize("existing", [None, b"an older version"])
def test_a_wrong_answer_is_one_error(
    path: str, reason: str, existing: bytes | None, web: Web, target: Path, sources: WebSources
) -> None:
    """It names address and reason; the target is as it was."""
    if existing is not None:
        target.write_bytes(existing)
    message = refused(web.url + path, target, sources)
    assert message.startswith(web.url + path)
    assert reason in message


def test_digest_and_size_are_checked(web: Web, target: Path, sources: WebSources) -> None:
    """What was expected and what came."""
    wrong = "0" * 40
    assert f"expected sha1 {wrong}, got {SHA1}" in refused(
        web.url + "/good.pdf", target, sources, expected_digest=wrong
    )
    for path in ("/good.pdf", "/unannounced"):
        assert "expected 7 bytes, got" in refused(web.url + path, target, sources, expected_size=7)
    assert "expected 999999999 bytes, got" in refused(
        web.url + "/unannounced", target, sources, expected_size=999_999_999
    )


def test_an_empty_document_needs_a_word_for_it(web: Web, target: Path, sources: WebSources) -> None:
    """An empty answer is mostly a server's mishap; digest or size can say that it is none."""
    assert fetch(web.url + "/empty", target, sources, expected_digest=EMPTY) == 0
    target.unlink()
    assert fetch(web.url + "/empty", target, sources, expected_size=0) == 0


@pytest.mark.parametrize("path", ["/drip", "/silent"])
def test_the_deadline_is_for_the_whole_document(path: str, web: Web, target: Path, sources: WebSources) -> None:
    """A server that drips, or says nothing, takes no longer than allowed."""
    started = time.monotonic()
    assert "not there after" in refused(web.url + path, target, sources, seconds=0.5)
    assert time.monotonic() - started < 10


def test_a_silent_server_is_given_up_long_before_the_deadline(
    web: Web, target: Path, sources: WebSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour may be right for a large document, not for a dead connection."""
    monkeypatch.setattr("mmmeta.documents.web.STALL", 0.3)
    assert "silent for 0.3 seconds" in refused(web.url + "/silent", target, sources)


def test_no_server_and_no_such_host(target: Path, sources: WebSources) -> None:
    """Refused connections and unknown names."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: a connection is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        assert "Cannot connect to host 127.0.0.1" in refused(url, target, sources)
    assert "Cannot connect to host nowhere.invalid" in refused("https://nowhere.invalid/x", target, sources)
    assert "http:///x" in refused("http:///x", target, sources)


@pytest.mark.parametrize(
    "source",
    [
        "sftp://h/x",
        "ftp://h/x",
        "local:///etc/passwd",
        "github://o:r@main/x",
        "memory://x",
        "data:,x",
        "s3:x",
        "x",
        "//h/x",
        "simplecache::http://h/x",
        "filecache::file:///etc/passwd",
        "zip://a::s3://b/c",
        "s3://b/k::file:///etc/passwd",
    ],
)
def test_only_allowed_protocols_are_read(source: str, target: Path, sources: WebSources) -> None:
    """Whatever fsspec could open; the message says what could be read."""
    message = refused(source, target, sources)
    assert "this job reads http, https, s3, gs, az, abfs, and files below files_root" in message or "::" in message


def test_a_redirect_stays_within_the_allowed_protocols(web: Web, target: Path) -> None:
    """Also one within the web."""
    only = WebSources(["https"])
    try:
        assert "this job reads https" in refused(web.url + "/good.pdf", target, only)
    finally:
        only.close()


def test_no_secret_is_shown(target: Path, sources: WebSources, web: Web) -> None:
    """Neither of the address nor in what the error says."""
    host = web.url.removeprefix("http://")
    for url in (
        f"http://user:hunter2@{host}/missing",
        f"http://hunter2@{host}/missing",
        f"http://user:hunt@hunter2@{host}/missing",
        f"{web.url}/missing?X-Amz-Signature=hunter2&x=1",
        f"{web.url}/missing?a=1&access_token=hunter2",
        "https://user:hunter2@nowhere.invalid/x",
        "sftp://user:hunter2@host/x",
    ):
        message = refused(url, target, sources)
        assert "hunter2" not in message
        assert "***" in message
    assert shown("see http://a/b?x=1, mail me@example.org") == "see http://a/b?x=1, mail me@example.org"


def test_user_and_password_reach_the_server(web: Web, target: Path, sources: WebSources) -> None:
    """They are only not shown."""
    fetch(web.url.replace("://", "://user:secret@") + "/good.pdf", target, sources)
    assert web.headers["Authorization"].startswith("Basic ")


def test_an_object_is_read_in_blocks(
    web: Web, target: Path, sources: WebSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through s3fs, against a server that speaks as much of S3 as reading needs."""
    monkeypatch.setattr("mmmeta.documents.web.BLOCK", 200_000)
    _use_s3(monkeypatch, web)
    web.objects = {"bucket/a/b ü.pdf": CONTENT, "bucket/empty": b""}
    assert fetch("s3://bucket/a/b ü.pdf", target, sources, expected_digest=SHA1) == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert web.asked["GET bucket/a/b ü.pdf"] == 3
    target.unlink()
    assert fetch("s3://bucket/empty", target, sources) == 0
    assert "is not there" in refused("s3://bucket/missing", target, sources)
    assert "expected 7 bytes" in refused("s3://bucket/empty", target, sources, expected_size=7)


def test_an_object_that_changes_between_blocks_is_refused(
    web: Web, target: Path, sources: WebSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a digest nothing else would tell."""
    monkeypatch.setattr("mmmeta.documents.web.BLOCK", 200_000)
    _use_s3(monkeypatch, web)
    web.objects = {"bucket/a": CONTENT}
    with sources.open("s3://bucket/a", Deadline("a", 30)) as source:
        size = 0
        for block in source.chunks():
            size += len(block)
            web.objects = {"bucket/a": CONTENT[::-1]}
        with pytest.raises(DownloadError, match="changed while it was read"):
            source.verify(size)


def _use_s3(monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    """As people do: fsspec's own configuration."""
    import fsspec

    options = {"endpoint_url": web.url, "key": "k", "secret": "s", "client_kwargs": {"region_name": "eu-central-1"}}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)


def test_other_file_systems_are_read_if_the_job_says_so(target: Path) -> None:
    """By what fsspec knows; here its file system in memory, which is no asynchronous one."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/mmmeta/a.pdf", CONTENT)
    made = WebSources(["memory"])
    try:
        assert fetch("memory://mmmeta/a.pdf", target, made) == len(CONTENT)
        assert "is no document but a directory" in refused("memory://mmmeta", target, made)
        assert "is not there" in refused("memory://mmmeta/b.pdf", target, made)
    finally:
        made.close()
        memory.rm("/mmmeta", recursive=True)


@pytest.mark.parametrize(
    ("url", "module", "advice"),
    [
        ("https://h/x", "urllib3", 'pip install "mmmeta[http]"'),
        ("s3://b/x", "s3fs", 'pip install "mmmeta[s3]"'),
        ("gs://b/x", "gcsfs", 'pip install "mmmeta[http]" gcsfs'),
    ],
)
def test_a_missing_extra_says_what_to_install(url: str, module: str, advice: str, tmp_path: Path) -> None:
    """One clear error; local documents need none of them."""
    (tmp_path / "a").write_bytes(b"a")
    code = (
        f"import sys, pathlib; sys.modules[{module!r}] = None\n"
        "from mmmeta.documents.web import WebSources; from mmmeta.documents.transfer import download\n"
        "from mmmeta.errors import DownloadError\n"
        f"web, folder = WebSources({ALL!r}), pathlib.Path({str(tmp_path)!r})\n"
        "download(str(folder / 'a'), folder / 'b', allowed_roots=[folder], web=web)\n"
        f"try: download({url!r}, folder / 'c', allowed_roots=[], web=web)\n"
        "except DownloadError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert advice in result.stdout
    assert result.stdout.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """Here a limit on the size of files, which fails in the same calls as a full disk does."""
    (tmp_path / "remote").mkdir()
    (tmp_path / "downloads").mkdir()
    (tmp_path / "remote" / "large").write_bytes(b"x" * 3_000_000)
    code = (
        "import pathlib, resource, sys\n"
        "from mmmeta.documents.transfer import download; from mmmeta.errors import DownloadError\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try: download(str(folder / 'remote/large'), folder / 'downloads/a', allowed_roots=[folder / 'remote'])\n"
        "except DownloadError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "remote/large: cannot be copied to" in result.stdout
    assert "File too large" in result.stdout
    assert os.listdir(tmp_path / "downloads") == []
