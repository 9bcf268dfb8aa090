"""Every example of the manual of mmmeta 0.2, run against real files (where its Python is valid; see ``upsert``)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from archives import copy_metadir

from mmmeta import File, mmmeta

DOCUMENTS: list[dict[str, Any]] = [
    {"content_hash": "1", "document_type": "contract", "retrieved_at": "2026-03-01T08:00:00", "_file_name": "1.pdf"},
    {"content_hash": "2", "document_type": "report", "retrieved_at": "2026-03-01T09:00:00", "_file_name": "2.pdf"},
    {"content_hash": "3", "document_type": "contract", "retrieved_at": "2026-02-01", "_file_name": "3.pdf"},
]


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A folder with documents, each with a metadata file beside it, some in folders."""
    root = tmp_path / "server"
    for number, document in enumerate(DOCUMENTS):
        folder = root / ("sub" if number == 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / document["_file_name"]
        path.write_bytes(b"document " + document["content_hash"].encode())
        (folder / f"{path.name}.json").write_text(json.dumps({**document, "public_url": path.as_uri()}))
    return root


@pytest.fixture
def client(server: Path, tmp_path: Path) -> Path:
    """A client's folder with the server's metadir, synced."""
    mmmeta(server).generate()
    copy_metadir(server, tmp_path / "client")
    return tmp_path / "client"


def command(*arguments: str, folder: Path, **environment: str) -> str:
    """Run ``mmmeta …`` as a person does; gives what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MMMETA")}
    result = subprocess.run(
        [sys.executable, "-m", "mmmeta", *arguments],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_server_a_stores_files_locally(server: Path) -> None:
    """`mmmeta generate` in the folder of the metadata files makes _mmmeta/meta.db, and again updates it."""
    command("generate", folder=server)
    assert (server / "_mmmeta" / "meta.db").is_file()
    assert len(mmmeta(server).files) == 3
    (server / "1.pdf.json").unlink()
    (server / "4.json").write_text('{"content_hash": "4"}')
    command("generate", folder=server)
    assert {file["content_hash"] for file in mmmeta(server).files} == {"1", "2", "3", "4"}


def test_server_b_pushes_into_a_cloud(server: Path, tmp_path: Path) -> None:
    """A machine with only the new files: pull the metadir, generate, push it back; the old ones stay known."""
    command("generate", folder=server)
    cloud, machine = tmp_path / "cloud", tmp_path / "machine"
    copy_metadir(server, cloud)
    copy_metadir(cloud, machine)
    (machine / "5.json").write_text('{"content_hash": "5"}')
    command("generate", folder=machine)
    copy_metadir(machine, cloud)
    assert {file["content_hash"] for file in mmmeta(cloud).files} == {"1", "2", "3", "5"}


def test_server_c_writes_from_python(server: Path, tmp_path: Path) -> None:
    """No files at all: the scraper inserts, or upserts, into a synced metadir."""
    command("generate", folder=server)
    machine = tmp_path / "machine"
    copy_metadir(server, machine)
    scraper = [{"content_hash": "6", "title": "new"}, {"content_hash": "7", "title": "new"}]

    m = mmmeta(machine)
    for data in scraper:
        m.files.insert(**data)
    for data in [{"content_hash": "7", "title": "newer"}, {"content_hash": "1", "title": "known"}]:
        m.files.upsert(data, ["content_hash"])
        m.files.upsert(keys=["content_hash"], **data)

    copy_metadir(machine, tmp_path / "client")
    titles = {file["content_hash"]: file.get("title") for file in mmmeta(tmp_path / "client").files}
    assert titles == {"1": "known", "2": None, "3": None, "6": "new", "7": "newer"}


def test_client_1_downloads_contracts(client: Path, tmp_path: Path) -> None:
    """Without any update: query what was synced, and fetch from public_url."""
    target = tmp_path / "downloads"
    target.mkdir()

    def download(url: str) -> None:
        shutil.copy(url.removeprefix("file://"), target)

    m = mmmeta(client)
    for file in m.files(document_type="contract"):
        download(file["public_url"])
    assert {path.name: path.read_text() for path in target.iterdir()} == {"1.pdf": "document 1", "3.pdf": "document 3"}


@pytest.mark.parametrize("how", ["command line", "python"])
def test_client_2_imports_what_is_not_imported_yet(client: Path, server: Path, how: str) -> None:
    """Update, find by a date and local state, mark; the mark survives updates, and only new files come again."""
    imported: list[str] = []

    def process_import(file: File) -> None:
        imported.append(file["content_hash"])

    def once() -> None:
        if how == "command line":
            command("update", folder=client.parent, MMMETA=str(client))
        m = mmmeta(f"{client}/")
        if how == "python":
            m.update()
        for file in m.files.find(retrieved_at=date(2026, 3, 1), imported=False):
            process_import(file)
            file["imported"] = True
            file.save()

    with pytest.warns(UserWarning, match="imported"):  # nobody has the key on the first day
        once()
    assert imported == ["1", "2"]
    (server / "8.json").write_text('{"content_hash": "8", "retrieved_at": "2026-03-01"}')
    mmmeta(server).generate()
    copy_metadir(server, client)
    once()
    once()
    assert imported == ["1", "2", "8"]
    week = mmmeta(client).files.find(retrieved_at={">=": date(2026, 2, 25)}, imported=True)
    assert [file["content_hash"] for file in week] == ["1", "2", "8"]


def test_initialization(client: Path, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By path, by MMMETA, by the current directory; the metadata files may lie elsewhere."""
    assert mmmeta(f"{client}/").layout.metadir == client / "_mmmeta"
    monkeypatch.setenv("MMMETA", f"{client}/")
    assert mmmeta().layout.metadir == client / "_mmmeta"
    assert mmmeta(server).layout.metadir == server / "_mmmeta"
    monkeypatch.delenv("MMMETA")
    monkeypatch.chdir(server)
    assert mmmeta().layout.metadir == server / "_mmmeta"

    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("MMMETA_FILES_ROOT", str(server))
    m = mmmeta(elsewhere)
    assert m.generate().added == 3
    assert (elsewhere / "_mmmeta" / "meta.db").is_file()
    assert mmmeta(tmp_path / "third", server).generate().added == 3
    output = command("generate", folder=tmp_path, MMMETA="./fourth", MMMETA_FILES_ROOT=str(server))
    assert "3" in output


def test_store(server: Path, client: Path) -> None:
    """Any value, read by whoever syncs the metadir; values are typed."""
    m = mmmeta(server)
    m.store["new_files"] = 17
    m.store["share"] = 0.5
    m.store["note"] = "00123"
    assert (server / "_mmmeta" / "_store" / "new_files").is_file()
    copy_metadir(server, client)
    there = mmmeta(client).store
    values = [there["new_files"], there["share"], there["note"]]
    assert values == [17, 0.5, "00123"]
    assert [type(value) for value in values] == [int, float, str]


def test_touch(server: Path) -> None:
    """Saves the current time, as datetime.now() tells it."""
    m = mmmeta(server)
    before = datetime.now().replace(microsecond=0)
    m.touch("my_ts_key")
    assert before <= mmmeta(server).store["my_ts_key"] <= datetime.now()


def test_comparing_timestamps(server: Path, client: Path) -> None:
    """The manual's question whether there is something new, right on the first day and after every step."""

    def is_new() -> bool:
        m = mmmeta(client)
        return bool(m.store["remote_last_updated"] > m.store["local_last_updated"])

    assert is_new()
    mmmeta(client).update()
    assert not is_new()
    mmmeta(server).generate()
    copy_metadir(server, client)
    assert not is_new()
    (server / "9.json").write_text('{"content_hash": "9"}')
    mmmeta(server).generate()
    copy_metadir(server, client)
    assert is_new()
    mmmeta(client).update()
    assert not is_new()


def test_command_line(server: Path, client: Path, tmp_path: Path) -> None:
    """--help names the three commands and the two options; these say where."""
    text = command("--help", folder=tmp_path)
    for word in ("--metadir", "--files-root", "--help", "generate", "inspect", "update"):
        assert word in text
    command("--metadir", "made", "--files-root", str(server), "generate", folder=tmp_path)
    assert len(mmmeta(tmp_path / "made").files) == 3
    command("--metadir", str(client), "update", folder=tmp_path)
    assert "3" in command("--metadir", str(client), "inspect", folder=tmp_path)


def test_files_object_is_a_table_of_files(client: Path) -> None:
    """What dataset yields as rows are File objects."""
    files = mmmeta(client).files
    one = files.find_one(content_hash="1")
    assert isinstance(one, File)
    assert all(isinstance(file, File) for file in files.all())
    assert sorted(row["document_type"] for row in files.distinct("document_type")) == ["contract", "report"]
    assert files.count(document_type="contract") == len(list(files.find(document_type="contract"))) == 2
    assert "document_type" in files.columns
    assert [file["content_hash"] for file in files.find(order_by="-retrieved_at", _limit=1)] == ["2"]
