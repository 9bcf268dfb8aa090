"""Documents that the action ``download`` has put somewhere are taken away again, and nothing else is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from archives import Archive
from downloads import SHA1, failures, publish
from servers import CONTENT, Web

from mmmeta import Metadir, RunReport


def test_a_deleted_document_is_removed(archive: Archive, web: Web, tmp_path: Path) -> None:
    """With the folders that are empty then, and never the target itself; one that is gone already is as good."""
    target = tmp_path / "target"
    client = publish(archive, web, "abc")
    rules: dict[str, Any] = {"download": {"to": str(target), "name": "x/{_file_name}"}, "on_delete": "action"}
    assert client.job("j", **rules).run().done == 3
    (target / "x" / "b" / "notes").write_text("mine")
    (target / "x" / "c" / "doc.pdf").unlink()
    for name in "abc":
        archive.server.files.delete(content_hash=name)
    archive.sync()
    client.update(allow_mass_delete=True)
    report = client.job("j", **rules).run()
    assert (report.retracted, report.failed) == (3, 0)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["x", "x/b", "x/b/notes"]


def test_a_document_that_another_replaced_is_left(archive: Archive, web: Web, tmp_path: Path) -> None:
    """With the default unique key the next version is another file, and often of the same name."""
    archive.write("old", content_hash=hashlib.sha1(b"old").hexdigest(), _file_name="doc.pdf", public_url=f"{web.url}/x")
    archive.deliver()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "doc.pdf").write_bytes(b"old")
    rules: dict[str, Any] = {"download": {"to": str(tmp_path / "target")}, "on_delete": "action"}
    assert archive.client.job("j", **rules).run().done == 1
    archive.write("new", content_hash=SHA1, _file_name="doc.pdf", public_url=f"{web.url}/good.pdf")
    archive.remove("old")
    archive.server.generate(ensure=True)
    archive.sync()
    archive.client.update()
    report = archive.client.job("j", **rules).run()
    assert (report.done, report.retracted, report.failed) == (1, 1, 0)
    assert (tmp_path / "target" / "doc.pdf").read_bytes() == CONTENT


def undoing(archive: Archive, tmp_path: Path, to: str = "target", **rules: Any) -> RunReport:
    """One run of a job that downloads, and removes what was deleted."""
    download = {"to": str(tmp_path / to), "name": "{title}.pdf"}
    return archive.client.job("j", download=download, on_delete="action", attempts=1, **rules).run()


def taken_down(archive: Archive) -> None:
    archive.remove("a")
    archive.server.generate(ensure=True, allow_mass_delete=True)
    archive.sync()
    archive.client.update()


def test_a_takedown_does_not_rest_on_who_comes_next(archive: Archive, web: Web, tmp_path: Path) -> None:
    """Another file of this name, which fails, is no reason to leave the document."""
    archive.write("a", title="same", day=1, content_hash=SHA1, public_url=f"{web.url}/good.pdf")
    archive.deliver()
    assert undoing(archive, tmp_path).done == 1
    archive.write("b", title="same", day=2, public_url=f"{web.url}/none.pdf")
    taken_down(archive)
    assert undoing(archive, tmp_path, order_by="-day").retracted == 1
    assert not (tmp_path / "target" / "same.pdf").exists()


def test_a_folder_that_was_moved_is_found_by_the_digest(archive: Archive, web: Web, tmp_path: Path) -> None:
    """And one that is away is no proof that the document is gone."""
    archive.write("a", title="same", content_hash=SHA1, public_url=f"{web.url}/good.pdf")
    archive.deliver()
    assert undoing(archive, tmp_path).done == 1
    taken_down(archive)
    (tmp_path / "target").rename(tmp_path / "moved")
    assert "the folder is not there" in failures(undoing(archive, tmp_path))[SHA1]
    archive.client.recorded_job("j").retry(files=SHA1)
    assert undoing(archive, tmp_path, to="moved").retracted == 1
    assert not (tmp_path / "moved" / "same.pdf").exists()


def test_an_unknown_version_is_left_for_a_person(archive: Archive, web: Web, tmp_path: Path) -> None:
    """Where the digest is not what identifies a file, another digest may be another version or another file."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    (archive.server.layout.metadir / "config.yml").write_text("metadata: {unique: id}\n")
    archive.write("a", id="a", content_hash=SHA1, _file_name="doc.pdf", public_url=f"{web.url}/good.pdf")
    archive.deliver()
    rules: dict[str, Any] = {"download": {"to": str(tmp_path / "target")}, "on_delete": "action"}
    assert archive.client.job("j", **rules).run().done == 1
    (tmp_path / "target" / "doc.pdf").write_bytes(b"edited")
    archive.server.files.delete(id="a")
    archive.sync()
    archive.client.update()
    report = archive.client.job("j", **rules).run()
    assert "has another sha1" in failures(report)["a"]
    assert (tmp_path / "target" / "doc.pdf").read_bytes() == b"edited"


def test_what_is_not_there_is_known(archive: Archive, web: Web, tmp_path: Path) -> None:
    """``check`` names it and ``adopt_present`` takes what is there: by digest, else by size, else by existence."""
    archive.write("digest", content_hash=SHA1, _file_name="digest", public_url=f"{web.url}/good.pdf")
    archive.write("size", _file_name="size", size=3)
    archive.write("plain", _file_name="plain")
    archive.write("gone", _file_name="gone")
    archive.write("nameless")
    archive.deliver()
    target = tmp_path / "target"
    target.mkdir()
    for name in ("digest", "size", "plain"):
        (target / name).write_bytes(b"abc")
    job = archive.client.job("j", download={"to": str(target)})
    assert job.adopt_present().adopted == 2
    (target / "digest").write_bytes(CONTENT)
    assert job.adopt_present().adopted == 1
    assert {entry.file for entry in job.files("done")} == {SHA1, "size", "plain"}
    (target / "size").write_bytes(b"four")
    (target / "plain").unlink()
    (target / "digest").write_bytes(CONTENT[::-1])
    client = Metadir(archive.client_path, jobs={"j": job.config})
    report = client.check()
    client.close()
    assert {problem.file: problem.message for problem in report.named} == {
        "size": f"done, but {target}/size has 4 bytes and not 3",
        "plain": f"done, but {target}/plain is not there",
        SHA1: f"done, but {target}/digest has another sha1 than {SHA1}",
    }
    assert report.documents == 3
