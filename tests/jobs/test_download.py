"""The action ``download`` in jobs: one bad document stops no other, and nothing outside the folder is touched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from archives import Archive
from downloads import SHA1, failures, publish
from fsspec.registry import _registry
from servers import CONTENT, Web

from mmmeta import Metadir
from mmmeta.errors import JobError

EMPTY = hashlib.sha1(b"").hexdigest()

ALL = ("http", "https", "s3", "gs", "az", "abfs")


def test_many_workers_share_the_connections(archive: Archive, web: Web, tmp_path: Path) -> None:
    """Each document whole, in threads; a second run finds them there and asks nobody."""
    for number in range(40):
        archive.write(f"{number:02}", content_hash=SHA1, id=number, _file_name=f"{number:02}.pdf", url=web.url)
    (archive.server.layout.metadir).mkdir(exist_ok=True)
    (archive.server.layout.metadir / "config.yml").write_text(
        f"metadata: {{unique: id}}\nremote: {{url: '{web.url}/good.pdf?{{id}}'}}\n"
    )
    archive.deliver()
    rules: dict[str, Any] = {"download": {"to": str(tmp_path / "target")}, "workers": 8}
    report = archive.client.job("first", **rules).run()
    assert (report.done, report.bytes) == (40, 40 * len(CONTENT))
    assert {path.read_bytes() for path in (tmp_path / "target").iterdir()} == {CONTENT}
    assert web.asked["/good.pdf"] == 40
    assert archive.client.job("second", **rules).run().done == 40
    assert web.asked["/good.pdf"] == 40


def test_one_bad_document_does_not_stop_the_others(archive: Archive, web: Web, tmp_path: Path) -> None:
    """Each its own error; the job's timeout is each document's deadline."""
    for name in ("good.pdf", "missing", "drip", "short"):
        archive.write(name, _file_name=f"{name}.pdf", public_url=f"{web.url}/{name}")
    archive.write("name", _file_name="../../x", public_url=f"{web.url}/good.pdf")
    archive.write("sftp", _file_name="sftp", public_url="sftp://host/x")
    archive.deliver()
    job = archive.client.job("j", download={"to": str(tmp_path / "target")}, timeout=1, workers=3, attempts=1)
    report = job.run()
    found = failures(report)
    assert (report.done, report.dead) == (1, 5)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["good.pdf.pdf"]
    for name, words in {
        "missing": "404",
        "drip": "not there after 1 second",
        "short": "cut short",
        "sftp": "this job reads",
    }.items():
        assert words in found[name]
    assert found["name"].startswith("UnsafeNameError: ")
    assert "is there" not in job.files("dead")[0].error_message


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/x", "a\0b", "x" * 300, "aux.pdf", "a/..", "..", "a\\b", "_mmmeta/x", "C:x", "a\nb", " . "],
)
def test_a_name_that_is_none_is_a_failed_file(name: str, archive: Archive, web: Web, tmp_path: Path) -> None:
    """The remote's names stay below the folder; nothing is written for those that would not."""
    archive.write("a", _file_name=name, public_url=f"{web.url}/good.pdf")
    archive.deliver()
    report = archive.client.job("j", download={"to": str(tmp_path / "deep" / "target")}).run()
    assert failures(report)["a"].startswith("UnsafeNameError: ")
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("name", ["trailing.", "trailing ", "trailing. .", "ab: c", "ü" * 127])
def test_a_name_that_only_windows_dislikes_is_taken(name: str, archive: Archive, web: Web, tmp_path: Path) -> None:
    """Trailing dots and spaces are part of a name here."""
    archive.write("a", _file_name=name, public_url=f"{web.url}/good.pdf")
    archive.deliver()
    assert archive.client.job("j", download={"to": str(tmp_path / "target")}).run().done == 1
    assert os.listdir(tmp_path / "target") == [name]


def test_a_link_in_the_target_leads_nowhere(archive: Archive, web: Web, tmp_path: Path) -> None:
    """Neither a download nor a retraction goes through a symbolic link to the outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "doc.pdf").write_bytes(b"keep")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a").symlink_to(outside)
    client = publish(archive, web, "ab")
    rules: dict[str, Any] = {"download": {"to": str(tmp_path / "target")}, "on_delete": "action"}
    report = client.job("j", **rules).run()
    assert failures(report)["a"].startswith("UnsafeNameError: 'a/doc.pdf' leads through a symbolic link")
    assert report.done == 1
    client.job("j", **rules).adopt(["a"])
    for name in "ab":
        archive.server.files.delete(content_hash=name)
    archive.sync()
    client.update(allow_mass_delete=True)
    report = client.job("j", **rules).run()
    assert (report.retracted, list(failures(report))) == (1, ["a"])
    assert (outside / "doc.pdf").read_bytes() == b"keep"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_does_not_wait_for_slow_servers(
    workers: int, archive: Archive, web: Web, tmp_path: Path
) -> None:
    """Ctrl-C while all workers wait for a server: what they were at counts as untried and leaves no part."""
    client = publish(archive, web, "abcd", "/drip")
    job = client.job("j", download={"to": str(tmp_path / "target")}, workers=workers)

    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while web.asked["/drip"] < workers and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        job.run()
    watcher.join()
    status = job.status()
    assert (status.pending, status.claimed, status.failed, status.done) == (4, 0, 0, 0)
    assert [path for path in (tmp_path / "target").rglob("*") if path.is_file()] == []


def test_protocols_of_a_job() -> None:
    """The client's own list; never one that opens this machine to the metadata."""
    from mmmeta.project import job_config

    assert job_config("j", download={"to": "x", "protocols": ["sftp", "https://"]}).download is not None
    for wrong, words in (
        ("file", "would open every file .* name the folder of the documents as files_root"),
        ("local://", "would open every file"),
        ("a b", "no protocol"),
    ):
        with pytest.raises(JobError, match=words):
            job_config("j", download={"to": "x", "protocols": [wrong]})
    plain, own = job_config("j", download={"to": "x"}), job_config("j", download={"to": "x", "protocols": ["sftp"]})
    assert plain.fingerprint() != own.fingerprint()


def beside(archive: Archive, name: str, content: bytes, **keys: Any) -> None:
    """A document in a folder of its own, with its metadata file."""
    folder = archive.server_path / name
    folder.mkdir(exist_ok=True)
    (folder / "doc.txt").write_bytes(content)
    values = {"content_hash": hashlib.sha1(content).hexdigest(), "_file_name": "doc.txt", **keys}
    (folder / "doc.json").write_text(json.dumps(values))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", ["{_file_name}", "same.txt", "{_file_name}.{kind}"])
@pytest.mark.parametrize("unique", ["content_hash", "id"])
def test_no_document_takes_the_place_of_another_files(
    name: str, workers: int, unique: str, archive: Archive, tmp_path: Path
) -> None:
    """The first one stands, the others fail and say why; a later run changes nothing in that."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    (archive.server.layout.metadir / "config.yml").write_text(f"metadata: {{unique: {unique}}}\n")
    for one in "abc":
        beside(archive, one, f"document {one}".encode(), id=one, kind="x")
    archive.deliver()
    rules: dict[str, Any] = {"download": {"to": str(tmp_path / "target"), "name": name}, "workers": workers}
    with Metadir(archive.client_path, archive.server_path) as client:
        job = client.job("j", backoff=0, attempts=2, **rules)
        report = job.run()
        assert (report.done, report.dead) == (1, 2)
        (document,) = (tmp_path / "target").iterdir()
        (done,) = job.files("done")
        text = document.read_text()
        assert client.files.get(done.file)["id"] == text[-1]  # type: ignore[index]
        for entry in job.files("dead"):
            assert f"belongs to another file of this name, {done.file}; was left." in (entry.error_message or "")
        job.retry(dead=True)
        assert (job.run().done, document.read_text()) == (0, text)
        # Where the job does not know of it, because it was made anew: the same.
        job.forget()
        assert (job.run().done, document.read_text()) == (1, text)


@pytest.mark.parametrize("unique", ["content_hash", "id"])
def test_a_new_version_takes_the_place_of_the_old_one(unique: str, archive: Archive, tmp_path: Path) -> None:
    """The same file with new content, or another one from the same metadata file, which does not go away by itself."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    (archive.server.layout.metadir / "config.yml").write_text(f"metadata: {{unique: {unique}}}\n")
    beside(archive, "a", b"first", id="a")
    archive.deliver()
    with Metadir(archive.client_path, archive.server_path) as client:
        job = client.job("j", download={"to": str(tmp_path / "target")})
        assert job.run().done == 1
        beside(archive, "a", b"the second version", id="a")
        archive.deliver()
        client.update()
        assert (job.run().done, job.status().failed) == (1, 0)
    assert (tmp_path / "target" / "doc.txt").read_bytes() == b"the second version"


@pytest.mark.parametrize("place", ["s3", "path", "file", "http"])
def test_each_kind_of_address_has_its_own_grammar(
    place: str, archive: Archive, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template is filled so that the document of exactly this name is asked for, whatever is in the name; the one of
    the name's other spelling is beside it and is not taken for it."""
    names = ["a b.pdf", "ü.pdf", "a+b.pdf", "a?b.pdf", "a#b.pdf", "a%20b.pdf", "100%.pdf", "a%2Fb.pdf"]
    contents = {name: name.encode() for name in names}
    decoys = {quote(name): b"another document" for name in names if quote(name) not in names}
    folder = archive.client_path / "documents"
    folder.mkdir(parents=True)
    for name, content in (contents | decoys).items():
        (folder / name).write_bytes(content)
        web.objects[f"bucket/{name}"] = content
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": web.url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(variable, value)
    template = {
        "s3": "s3://bucket/{_file_name}",
        "path": f"{folder}/{{_file_name}}",
        "file": f"{folder.as_uri()}/{{_file_name}}",
        "http": f"{web.url}/bucket/{{_file_name}}",
    }[place]
    archive.server.layout.metadir.mkdir()
    archive.server.layout.config.write_text(f"remote: {{url: '{template}'}}\n")
    for number, name in enumerate(names):
        archive.write(f"f{number}", _file_name=name)
    archive.deliver()
    report = archive.client.job("j", download={"to": str(tmp_path / "target")}).run()
    assert failures(report) == {}
    assert {path.name: path.read_bytes() for path in (tmp_path / "target").iterdir()} == contents


@pytest.mark.parametrize(
    ("address", "module", "advice"),
    [
        ("https://h/x", "urllib3", 'pip install "mmmeta[http]"'),
        ("s3://b/x", "s3fs", 'pip install "mmmeta[s3]"'),
        ("gs://b/x", "gcsfs", 'pip install "mmmeta[http]" gcsfs'),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_missing_extra_ends_the_run(
    address: str,
    module: str,
    advice: str,
    workers: int,
    archive: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what to install, and nobody's attempts are used up."""
    monkeypatch.setitem(sys.modules, module, None)
    # What an earlier test has used is remembered there.
    monkeypatch.delitem(_registry, address.partition(":")[0], raising=False)
    for name in "abc":
        archive.write(name, _file_name=name, public_url=address)
    archive.deliver()
    job = archive.client.job("j", download={"to": str(tmp_path / "target")}, workers=workers)
    with pytest.raises(JobError, match=re.escape(advice)):
        job.run()
    assert (job.status().pending, job.status().failed, job.status().dead) == (3, 0, 0)
    assert {entry.attempts for entry in job.files("pending")} == {0}
