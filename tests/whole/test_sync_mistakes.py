"""What a sync that was told the wrong thing leaves is recognised, and said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from archives import Archive, copy_metadir, everything
from click.testing import CliRunner

from mmmeta import Metadir, load_project
from mmmeta.cli import main
from mmmeta.errors import ConfigError, MetadirNotFoundError


def too_deep(archive: Archive) -> None:
    """``rsync -a server/_mmmeta client/_mmmeta``."""
    shutil.copytree(archive.server.layout.metadir, archive.client_path / "_mmmeta" / "_mmmeta")


def too_flat(archive: Archive) -> None:
    """``rsync -a server/_mmmeta/ client/``."""
    shutil.copytree(archive.server.layout.metadir, archive.client_path)


def with_its_archive(archive: Archive) -> None:
    """``rsync -a server client/``."""
    shutil.copytree(archive.server_path, archive.client_path / "server")


MISTAKES = {
    too_deep: "_mmmeta/_mmmeta is a metadir within the metadir: the sync goes one folder too deep",
    too_flat: "client holds what belongs into ",
    with_its_archive: "there is a metadir in ",
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("verb", ["update", "run", "status", "find", "inspect"])
def test_a_metadir_beside_its_place_is_named(archive: Archive, mistake: object, verb: str) -> None:
    """By whoever looks for one; nothing is made meanwhile."""
    archive.write("a")
    archive.server.generate()
    archive.server.close()
    mistake(archive)  # type: ignore[operator]
    before = everything(archive.client_path)
    result = CliRunner().invoke(main, ["--metadir", str(archive.client_path), verb])
    assert result.exit_code == (3 if verb == "inspect" else 1)
    assert MISTAKES[mistake] in result.output  # type: ignore[index]
    assert everything(archive.client_path) == before


def test_a_newer_metadir_within_an_older_one_is_named(archive: Archive) -> None:
    """The update finds nothing new, and says why that may be."""
    archive.write("a")
    archive.deliver()
    archive.write("b")
    archive.server.generate()
    too_deep(archive)
    report = archive.client.update()
    assert report.how == "nothing new"
    assert "one folder too deep" in report.notes[0]
    assert "one folder too deep" in archive.client.inspect().problems[0]
    shutil.rmtree(archive.client_path / "_mmmeta" / "_mmmeta")
    archive.sync()
    assert archive.client.update().notes == ()


@pytest.mark.parametrize("there", [True, False], ids=["full", "empty"])
def test_no_metadir_is_made_within_a_metadir(tmp_path: Path, there: bool) -> None:
    """Where the metadir itself is named instead of the folder that holds it."""
    inner = tmp_path / "_mmmeta"
    inner.mkdir()
    if there:
        with Metadir(tmp_path) as m:
            m.files.insert(content_hash="a")
    with Metadir(inner) as m:
        for verb in (m.generate, m.update, lambda: m.files.insert(content_hash="a")):
            with pytest.raises(MetadirNotFoundError, match="is the metadir itself: name the folder that holds it"):
                verb()
    assert not (inner / "_mmmeta").exists()


PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    jobs:
      documents: {download: {to: ./downloads}}
      rows: {load: {to: "sqlite:///loaded.db", table: documents, mode: append}}
      look: {call: {function: "builtins:len"}}
"""


def test_a_wiped_state_db_shows_by_what_its_jobs_have_done(archive: Archive) -> None:
    """``rsync --delete`` without the exclude takes ``local/`` away; where results are is still known of most jobs."""
    for number in range(30):
        document = archive.write(f"f{number}", _file_name=f"f{number}.txt").with_suffix(".txt")
        document.write_bytes(b"%PDF")
    archive.publish()
    project = archive.root / "mmmeta.yaml"
    project.write_text(PROJECT)
    with Metadir.from_config(load_project(project).metadirs["archive"]) as client:
        assert client.update().notes == ()  # nothing was done before
        assert client.job("documents").run().done == client.job("rows").run().done == 30
        assert client.update().notes == ()
    shutil.rmtree(archive.client_path / "_mmmeta")
    copy_metadir(archive.server_path, archive.client_path)
    with Metadir.from_config(load_project(project).metadirs["archive"]) as client:
        notes = client.update().notes
        for job, note in zip(("documents", "rows"), notes, strict=True):
            assert f"of the first 20 files of job {job} 20 are there already" in note
            assert "exclude local/" in note
            assert f"mmmeta jobs adopt {job} --present" in note
        for name in ("documents", "rows"):
            assert client.job(name).adopt_present().adopted == 30
            assert client.job(name).run().attempted == 0
        assert client.update().notes == ()


@pytest.mark.parametrize("url", [" {}", "{} ", "\n{}\t"])
def test_spaces_around_an_address_are_no_part_of_it(archive: Archive, url: str, tmp_path: Path) -> None:
    """And ``generate`` tells of them, for whoever reads the key otherwise."""
    document = archive.root / "server" / "elsewhere.txt"
    document.write_bytes(b"text")
    archive.write("a", public_url=url.format(f"file://{document}"), _file_name="a.txt")
    archive.write("b", public_url=f"file://{document}", _file_name="b.txt")
    report = archive.publish()
    assert report.notes == ("public_url begins or ends with a space in 1 metadata files; jobs read it without",)
    with Metadir(archive.client_path, archive.server_path) as client:
        client.update()
        assert client.job("get", download={"to": str(tmp_path / "to")}).run().done == 2
    assert sorted(os.listdir(tmp_path / "to")) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('remote: {url: " https://example.org/{_file_name}"}', r":1: remote\.url: .*begin or end with a space"),
        ('remote: {url: "https://example.org/{_file_name} "}', r":1: remote\.url: .*begin or end with a space"),
        ('metadata: {unique: " id"}', r":1: metadata\.unique: .*begin or end with a space"),
        ('metadata: {content: "id "}', r":1: metadata\.content: .*begin or end with a space"),
        ('metadata: {required: ["title "]}', r":1: metadata\.required\[0\]: .*begin or end with a space"),
    ],
)
def test_spaces_around_what_stands_in_config_yml_are_an_error(archive: Archive, text: str, said: str) -> None:
    """It names the line and the key."""
    archive.write("a")
    archive.server.layout.metadir.mkdir()
    archive.server.layout.config.write_text(f"{text}\n")
    with pytest.raises(ConfigError, match=said):
        archive.server.generate()
