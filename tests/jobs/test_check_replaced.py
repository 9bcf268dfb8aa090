"""Looking for results does not cry wolf where a later version has taken, or is to take, the place of what was done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import Job, Metadir
from mmmeta.project.job import job_config


def publish(archive: Archive, content: bytes, unique: str) -> None:
    """A document and its metadata file, which is written over for each version."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    (archive.server.layout.metadir / "config.yml").write_text(f"metadata: {{unique: {unique}}}\n")
    (archive.server_path / "doc.txt").write_bytes(content)
    values = {"id": "a", "content_hash": hashlib.sha1(content).hexdigest(), "_file_name": "doc.txt"}
    (archive.server_path / "doc.json").write_text(json.dumps(values))
    archive.publish()


@pytest.fixture
def client(archive: Archive) -> Iterator[Metadir]:
    config = job_config("j", download={"to": str(archive.root / "target")})
    with Metadir(archive.client_path, archive.server_path, jobs={"j": config}) as made:
        yield made


def missing(client: Metadir, job: Job) -> dict[str, str]:
    """What is missing; the check of all jobs has to say the same."""
    found = job.results().named
    assert client.check().problems == len(found)
    return found


@pytest.mark.parametrize("unique", ["content_hash", "id"])
def test_a_document_that_was_replaced_by_its_new_version(archive: Archive, client: Metadir, unique: str) -> None:
    """With the default unique key the old version is a file of its own, done, and its document is gone with good reason."""
    publish(archive, b"first", unique)
    client.update()
    job = client.job("j")
    assert job.run().done == 1
    for content in (b"second", b"third"):
        publish(archive, content, unique)
        client.update()
        assert job.run().done == 1
        assert missing(client, job) == {}
    document = archive.root / "target" / "doc.txt"
    new = hashlib.sha1(b"third").hexdigest() if unique == "content_hash" else "a"
    document.write_bytes(b"damaged")
    assert list(missing(client, job)) == [new]
    document.unlink()
    assert list(missing(client, job)) == [new]


@pytest.mark.parametrize("action", ["download", "load"])
def test_a_version_that_the_job_was_not_told_of_yet(archive: Archive, tmp_path: Path, action: str) -> None:
    """A job made in Python hears of news when it runs; until then it has done what it should have."""
    publish(archive, b"first", "id")
    with Metadir(archive.client_path, archive.server_path) as client:
        client.update()
        load = {"load": {"to": f"sqlite:///{tmp_path}/t.db", "table": "documents"}}
        job = client.job("p", **(load if action == "load" else {"download": {"to": str(tmp_path / "target")}}))
        assert job.run().done == 1
        publish(archive, b"second", "id")
        client.update()
        assert job.results().missing == 0
        job.evaluate()
        assert job.results().missing == 0
        assert job.run().done == 1
        assert job.results().missing == 0


def test_a_version_that_is_never_to_come(archive: Archive, tmp_path: Path) -> None:
    """What a job does not run again for is looked for as it is now, and a person told."""
    publish(archive, b"first", "id")
    with Metadir(archive.client_path, archive.server_path) as client:
        client.update()
        job = client.job("p", download={"to": str(tmp_path / "target")}, rerun_on="never")
        assert job.run().done == 1
        publish(archive, b"second", "id")
        client.update()
        assert list(job.results().named) == ["a"]
