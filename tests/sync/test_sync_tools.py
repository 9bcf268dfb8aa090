"""rsync and rclone as people use them: what they bring is merged, what they bring by halves is waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from remotes import S3, SFTP, Remote
from synced import contents, files_in, publish, remote

from mmmeta import Metadir, mmmeta
from mmmeta.errors import MmmetaError

pytestmark = pytest.mark.services
__all__ = ["remote"]

Tool = Callable[[Path, Path], None]
"""Makes the target's metadir what the source's is."""


class VanishedError(Exception):
    """A tool says that a file was there when it began, and is another one now."""


def call(*words: str | Path, **environment: str) -> None:
    """Run a program as a shell of root's would find it, Debian's rclone before that of the tests' S3 server."""
    path = os.pathsep.join(["/usr/bin", "/bin", os.environ.get("PATH", os.defpath)])
    here = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}  # rclone reads them, too
    variables = {**here, "RCLONE_CONFIG": os.devnull, **environment}
    ended = subprocess.run(
        [shutil.which(str(words[0]), path=path) or words[0], *words[1:]],
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    if any(words in ended.stderr for words in ("vanished", "can't copy", "not found", "source file is being updated")):
        raise VanishedError(ended.stderr)
    assert ended.returncode == 0, ended.stderr


def rsync(*options: str) -> Tool:
    def sync(source: Path, target: Path) -> None:
        (target / "_mmmeta").mkdir(parents=True, exist_ok=True)
        call("rsync", "-rt", "--exclude=/local", *options, f"{source}/_mmmeta/", f"{target}/_mmmeta/")

    return sync


def rclone(verb: str, *options: str) -> Tool:
    def sync(source: Path, target: Path) -> None:
        call("rclone", verb, "--exclude", "/local/**", *options, f"{source}/_mmmeta", f"{target}/_mmmeta")

    return sync


TOOLS = {
    "rsync, deletes": rsync("--delete"),
    "rsync, deletes, the log alone": rsync("--delete", "--exclude=/meta.db"),
    "rsync, keeps": rsync(),
    "rsync in place": rsync("--inplace", "--delete"),
    "rsync by checksum, as archive": rsync("-a", "--checksum", "--delete-after"),
    "rclone, deletes": rclone("sync"),
    "rclone, deletes, the log alone": rclone("sync", "--exclude", "/meta.db"),
    "rclone, keeps": rclone("copy"),
    "rclone by checksum": rclone("sync", "--checksum"),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Metadir]:
    with mmmeta(tmp_path / "server") as made:
        yield made


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_what_a_tool_brings_is_merged(tool: Tool, server: Metadir, tmp_path: Path) -> None:
    """Publication after publication, through the merging of segments; what the client has of its own stays."""
    with mmmeta(tmp_path / "client") as client:
        for version in range(30):
            publish(server, version, version + 1, 5, version=version)
            if version % 10 == 3:
                server.files.delete(content_hash=f"{version:040x}")
            server.close()
            if version % 4 and version < 28:
                continue  # not every publication is synced
            tool(tmp_path / "server", tmp_path / "client")
            assert client.update().how != "nothing new"
            assert contents(client) == contents(server)
            if version == 0:
                file = client.files.find_one(content_hash=f"{5:040x}")
                assert file is not None
                file["mine"] = 7
                file.save()
        file = client.files.find_one(content_hash=f"{5:040x}")
        assert file is not None
        assert (file["mine"], file["title"]) == (7, "Report 5, version 29")


@pytest.mark.parametrize("order", ["alphabetical", "backwards"])
@pytest.mark.parametrize("log", [True, False], ids=["all", "the log alone"])
def test_a_sync_that_is_broken_off_after_each_file(order: str, log: bool, server: Metadir, tmp_path: Path) -> None:
    """Whatever has arrived: the update merges a whole publication or says what is missing, and the next sync mends it."""
    publish(server, *range(20))
    server.close()
    everything = rsync()
    everything(tmp_path / "server", tmp_path / "client")
    with mmmeta(tmp_path / "client") as client:
        client.update()
        known = {repr(contents(client)): 0}
        for version in range(1, 26):  # so many that segments are merged
            publish(server, version, version=version)
        server.close()
        known[repr(contents(server))] = 1
        names = sorted(files_in(server.layout.metadir), reverse=order == "backwards")
        names = [name for name in names if not name.startswith("local/") and (log or name != "meta.db")]
        refused: list[str] = []
        for name in names:
            call("rsync", "-rt", f"--include=/{name}", *parents(name), "--exclude=*",
                 f"{tmp_path}/server/_mmmeta/", f"{tmp_path}/client/_mmmeta/")  # fmt: skip
            try:
                client.update()
            except MmmetaError as error:
                refused.append(str(error))
            assert repr(contents(client)) in known
        assert all("sync" in reason for reason in refused)
        assert client.update().revision == 26
        assert contents(client) == contents(server)


def parents(name: str) -> list[str]:
    """rsync goes into a folder only where it is told to."""
    folder = name.rpartition("/")[0]
    return [f"--include=/{folder}/"] if folder else []


WRITER = """
import sys
sys.path[:0] = {path!r}
from synced import publish
from mmmeta import mmmeta
for version in range(1, 41):
    with mmmeta({server!r}) as server:
        publish(server, version, 0, version=version)
"""


@pytest.mark.parametrize("tool", ["rsync, deletes", "rsync, keeps", "rsync in place", "rclone, deletes"])
def test_a_sync_while_a_publish_runs(tool: str, server: Metadir, tmp_path: Path) -> None:
    """The server publishes in a process of its own, and does not wait for anybody: no client ever sees half of it."""
    publish(server, *range(30))
    server.close()
    here = Path(__file__).parent
    code = WRITER.format(path=[str(here), str(here.parent)], server=str(tmp_path / "server"))
    writer = subprocess.Popen([sys.executable, "-c", code])
    over = threading.Event()
    threading.Thread(target=lambda: (writer.wait(), over.set())).start()
    merged = 0
    with mmmeta(tmp_path / "client") as client:
        while not over.is_set():
            with suppress(VanishedError):
                TOOLS[tool](tmp_path / "server", tmp_path / "client")
            try:
                report = client.update()
            except MmmetaError:
                continue
            assert report.revision >= merged
            merged = report.revision
            found = contents(client)
            assert found[f"{0:040x}"][0]["title"] == f"Report 0, version {merged - 1}"
            assert found[f"{merged - 1:040x}"][0]["title"] == f"Report {merged - 1}, version {merged - 1}"
        assert writer.returncode == 0
        TOOLS[tool](tmp_path / "server", tmp_path / "client")
        client.update()
        assert contents(client) == contents(server)


@pytest.mark.parametrize("remote", [S3, SFTP], indirect=True)
def test_there_and_back_with_rclone(remote: Remote, server: Metadir, tmp_path: Path) -> None:
    """Through a store or a server between the two machines."""
    place = f"remote:{remote.rclone_path}/archive/_mmmeta"
    with mmmeta(tmp_path / "client") as client:
        for version in range(27):
            publish(server, version, 0, version=version)
            server.close()
            if version in (0, 1, 26):
                call("rclone", "sync", "--exclude", "/local/**", f"{tmp_path}/server/_mmmeta", place, **remote.rclone())
                call("rclone", "sync", "--exclude", "/local/**", place, f"{tmp_path}/client/_mmmeta", **remote.rclone())
                assert client.update().how != "nothing new"
                assert contents(client) == contents(server)
    assert not any("local" in name for name in files_in(remote.folder))
