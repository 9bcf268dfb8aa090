"""Things without an end, or of a size that nothing of their kind has: bounded before they are read, named, set aside."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from archives import Archive
from metadirs import client_with_own, own_values

from mmmeta import Metadir
from mmmeta.errors import ConfigError, MmmetaError, StoreAccessError, StoreValueError

HUGE = 6_000_000_000


def sparse(path: Path, size: int = HUGE) -> Path:
    """A file that is large and takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """What is read whole all the same ends in a MemoryError and not in the machine's."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_store_value_without_an_end(archive: Archive) -> None:
    """Named; the other values are read, and the files stay what they were."""
    client_with_own(archive)
    sparse(archive.client.layout.store / "evil")
    with pytest.raises(StoreAccessError, match=r"evil cannot be read: has more than 10,000,000 bytes"):
        archive.client.store["evil"]
    assert archive.client.store["remote_revision"] == 1
    assert archive.client.inspect().problems
    assert len(own_values(archive.client_path)) == 3
    sparse(archive.client.layout.store / "remote_last_updated")
    with pytest.raises(StoreAccessError, match="remote_last_updated"):
        archive.client.update()
    assert len(own_values(archive.client_path)) == 3


def test_a_value_that_could_not_be_read_is_not_written(archive: Archive) -> None:
    """Before anything is there."""
    with pytest.raises(StoreValueError, match="more than 10,000,000 bytes"):
        archive.server.store["text"] = "x" * 10_000_001
    assert "text" not in archive.server.store


def test_a_config_without_an_end(archive: Archive) -> None:
    """One clear error."""
    client_with_own(archive)
    archive.close()
    sparse(archive.client.layout.config)
    with Metadir(archive.client_path) as client, pytest.raises(ConfigError, match=r"config\.yml: .*more than"):
        client.update()
    archive.client.layout.config.unlink()
    assert len(own_values(archive.client_path)) == 3


def test_a_metadata_file_without_an_end_is_set_aside(archive: Archive) -> None:
    """And the others are read."""
    archive.write("a")
    sparse(archive.server_path / "huge.json", 20_000_000_000)
    archive.write("z")
    report = archive.server.generate()
    assert (report.added, len(report.problems)) == (2, 1)
    assert "huge.json" in str(report.problems[0])
    assert "64 MB" in str(report.problems[0])


def test_local_files_of_any_size_are_no_reason_to_stop(archive: Archive) -> None:
    """status.json and what else lies in ``local`` is derived."""
    client_with_own(archive)
    sparse(archive.client.layout.status)
    sparse(archive.client.layout.announced)
    archive.write("new")
    archive.deliver()
    assert len(own_values(archive.client_path)) == 3


class Endless(BaseHTTPRequestHandler):
    """Sends without an end: plain, packed, or with a length that it announces."""

    def do_GET(self) -> None:
        self.send_response(200)
        block = b"x" * 65_536
        if self.path.startswith("/announced"):
            self.send_header("Content-Length", str(HUGE))
        if self.path.startswith("/bomb"):
            self.send_header("Content-Encoding", "gzip")
            block = gzip.compress(bytes(50_000_000))
        self.end_headers()
        try:
            if self.path.startswith("/bomb"):
                self.wfile.write(block)
                return
            while True:
                self.wfile.write(block)
        except OSError:
            pass

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def endless() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("path", ["/plain", "/announced", "/bomb"])
def test_an_answer_without_an_end(archive: Archive, tmp_path: Path, path: str) -> None:
    """Ended at what the job allows; the others go on, and nothing of it stays."""
    with endless() as url:
        archive.write("a", _file_name="a.bin", public_url=url + path)
        (archive.server_path / "b.bin").write_bytes(b"b")
        archive.write("b", _file_name="b.bin")
        archive.deliver()
        with Metadir(archive.client_path, archive.server_path) as client:
            job = client.job("j", download={"to": str(tmp_path / "target"), "max": "10MB"})
            report = job.run()
    assert (report.done, report.failed) == (1, 1)
    assert "more than the 10,000,000 bytes that `max`" in report.failures[0].message
    assert os.listdir(tmp_path / "target") == ["b.bin"]


def test_a_local_document_that_is_too_large(archive: Archive, tmp_path: Path) -> None:
    """Its size is known before it is read."""
    sparse(archive.server_path / "a.bin", 20_000_000_000)
    archive.write("a", _file_name="a.bin")
    archive.deliver()
    with Metadir(archive.client_path, archive.server_path) as client:
        report = client.job("j", download={"to": str(tmp_path / "target")}).run()
    assert "more than the 10,000,000,000 bytes" in report.failures[0].message


def test_a_project_file_from_a_pipe_is_read(archive: Archive, tmp_path: Path) -> None:
    """Only what lies in a metadir has to be a file."""
    archive.write("a")
    archive.publish()
    text = f"version: 1\nmetadirs: {{archive: {{path: {archive.client_path}}}}}\n"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m mmmeta --project <(echo '{text}') update"], capture_output=True, text=True
    )
    assert done.returncode in (0, 1)
    assert "regular file" not in done.stderr


def test_errors_stay_short(archive: Archive) -> None:
    """Whatever a value holds."""
    archive.write("a", content_hash="x" * 1_000_000)
    archive.write("b", content_hash=["x" * 1_000_000])
    report = archive.server.generate()
    assert all(len(str(problem)) < 1_000 for problem in report.problems)
    with pytest.raises(MmmetaError) as caught:
        archive.server.files.insert(content_hash=["y" * 100_000])
    assert len(str(caught.value)) < 1_000
