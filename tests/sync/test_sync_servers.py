"""Pull and push through real servers, S3, SFTP and a web server: on a good line, and on one that is slow, cut or changes bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from remotes import EVERY, SFTP, WRITABLE, Remote
from synced import assert_untouched, client, contents, files_in, lay, publish, remote, server
from tcp_proxy import Line, line_to

from mmmeta import Metadir, mmmeta
from mmmeta.errors import MmmetaError, SyncError
from mmmeta.sync import pull, push

pytestmark = pytest.mark.services
__all__ = ["client", "remote", "server"]

every = pytest.mark.parametrize("remote", EVERY, indirect=True)
writable = pytest.mark.parametrize("remote", WRITABLE, indirect=True)


@pytest.fixture
def line(remote: Remote) -> Iterator[Line]:
    """A proxy before the server, through which ``through(line, remote)`` goes."""
    with line_to(remote.port) as made:
        yield made


def through(line: Line, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """The place behind the proxy; this process is let in there."""
    behind = remote.by(line.port)
    for name, value in behind.environment.items():
        monkeypatch.setenv(name, value)
    return behind


# A good line


@writable
def test_what_is_pushed_is_pulled(remote: Remote, server: Metadir, client: Metadir) -> None:
    """Then only what is new moves; what is the server's own stays there, and nothing half written is left."""
    server.store["crawler"] = "a person's own key"
    first = push(server.layout.base, remote.url)
    assert (first.revision_before, first.revision, first.is_new) == (None, 1, True)
    there = files_in(remote.folder / "_mmmeta")
    assert there == {name for name in files_in(server.layout.metadir) if not name.startswith(("local", "meta.db"))}
    assert pull(client.layout.base, remote.url).revision == 1
    client.update()
    assert contents(client) == contents(server)
    assert client.store["crawler"] == "a person's own key"
    publish(server, 1, 2, version=1)
    server.close()
    assert push(server.layout.base, remote.url).bytes < 10_000
    again = pull(client.layout.base, remote.url)
    assert (again.revision_before, again.revision, again.is_new) == (1, 2, True)
    assert again.bytes < 10_000
    assert client.update().changed == 2
    assert contents(client) == contents(server)
    idle = pull(client.layout.base, remote.url)
    assert (idle.is_new, idle.files, idle.bytes) == (False, 0, 0)
    assert push(server.layout.base, remote.url).files == 0


@every
def test_what_lies_there_is_pulled(remote: Remote, server: Metadir, client: Metadir) -> None:
    """Brought there by another tool."""
    for version in range(1, 4):
        publish(server, version, version=version)
    server.close()
    lay(server, remote)
    assert pull(client.layout.base, remote.url).revision == 4
    client.update()
    assert contents(client) == contents(server)


@writable
def test_segments_are_merged_and_go_away_there(remote: Remote, server: Metadir, client: Metadir) -> None:
    """One push later, for a client that is on its way with the head.json before."""
    for version in range(1, 31):
        publish(server, version, version=version)
        if version % 10 == 0:
            server.close()
            push(server.layout.base, remote.url)
            pull(client.layout.base, remote.url)
            client.update()
            assert contents(client) == contents(server)
    named = {segment.name for segment in _log(server)}
    assert {path.name for path in client.layout.changes.iterdir()} == named
    push(server.layout.base, remote.url)
    assert named <= {path.name for path in (remote.folder / "_mmmeta" / "changes").iterdir()}


def _log(metadir: Metadir) -> tuple[object, ...]:
    from mmmeta.metadata.changelog.head import read_log

    log = read_log(metadir.layout)
    assert log is not None
    return log.segments


@writable
def test_two_servers_publish_to_one_place(remote: Remote, server: Metadir, tmp_path: Path) -> None:
    """The one that has not seen what is there overwrites nothing."""
    push(server.layout.base, remote.url)
    shutil.copytree(server.layout.base, tmp_path / "other")
    publish(server, 1, version=1)
    server.close()
    push(server.layout.base, remote.url)
    with mmmeta(tmp_path / "other") as other:
        publish(other, 2, version=2)
        other.close()
        before = {name: (remote.folder / name).read_bytes() for name in files_in(remote.folder)}
        with pytest.raises(SyncError, match=r"two servers publish from one metadir\. Nothing was overwritten"):
            push(other.layout.base, remote.url)
    assert {name: (remote.folder / name).read_bytes() for name in files_in(remote.folder)} == before


@writable
def test_clients_pull_while_a_server_pushes(remote: Remote, server: Metadir, client: Metadir) -> None:
    """Each pull brings a whole publication."""
    push(server.layout.base, remote.url)
    over, failed = threading.Event(), list[Exception]()

    def work() -> None:
        try:
            with mmmeta(server.layout.base) as writer:
                for version in range(1, 9):
                    publish(writer, 0, version, version=version)
                    writer.close()
                    push(writer.layout.base, remote.url)
        except Exception as error:
            failed.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=work)
    thread.start()
    seen, torn = list[int](), list[str]()
    try:
        while not over.is_set():
            try:
                report = pull(client.layout.base, remote.url)
            except MmmetaError as error:  # the S3 server's idea of a file's size is up to a second old
                torn.append(str(error))
                continue
            assert report.revision is not None
            client.update()
            found = contents(client)
            assert found[f"{0:040x}"][0]["title"] == f"Report 0, version {report.revision - 1}"
            seen.append(report.revision)
    finally:
        thread.join()
    assert failed == []
    assert all("head.json" in said for said in torn)
    assert torn == [] or remote.kind == "s3"
    assert seen == sorted(seen)
    pull(client.layout.base, remote.url)
    client.update()
    assert contents(client) == contents(server)


# A bad line


@every
def test_a_slow_line(
    remote: Remote, line: Line, server: Metadir, client: Metadir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes its time, and shows it: what has come is told again and again."""
    lay(server, remote)
    line.rate = 150_000
    told = list[int]()
    started = time.monotonic()
    pull(
        client.layout.base, through(line, remote, monkeypatch).url, progress=lambda what, done, total: told.append(done)
    )
    assert time.monotonic() - started > 1
    assert len(told) >= (3 if remote.kind == "http" else 1)  # the others give blocks of some MB
    assert told == sorted(told)
    client.update()
    assert contents(client) == contents(server)


@every
def test_a_line_that_is_cut_now_and_then(
    remote: Remote, line: Line, server: Metadir, client: Metadir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody notices, and what had come does not come again."""
    lay(server, remote)
    size = sum(path.stat().st_size for path in (remote.folder / "_mmmeta" / "changes").iterdir())
    line.cut_after, line.times = 120_000, 2
    pull(client.layout.base, through(line, remote, monkeypatch).url)
    assert line.hurt == 2
    client.update()
    assert contents(client) == contents(server)
    if remote.kind == "http":  # the others ask for blocks of some MB, and ask again for a whole one
        assert line.down < 1.5 * size


@every
def test_a_line_that_is_always_cut(
    remote: Remote, line: Line, server: Metadir, client: Metadir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pull ends with words, changes nothing, and the next one brings it all."""
    lay(server, remote)
    # A web server's answers go on where they were cut, if it is only after some bytes of the file.
    line.cut_after = {"http": 150, "s3": 2_000, "sftp": 5_000}[remote.kind]
    behind = through(line, remote, monkeypatch)
    with pytest.raises(
        SyncError, match=r"Nothing was changed here, and what has come is kept: pull again, and it goes on"
    ):
        pull(client.layout.base, behind.url)
    assert line.hurt > 1
    assert_untouched(client)
    line.times = 0
    pull(client.layout.base, behind.url)
    client.update()
    assert contents(client) == contents(server)


@pytest.mark.parametrize("remote", [SFTP], indirect=True)
def test_a_cut_line_is_told_once_and_in_words(
    remote: Remote, line: Line, server: Metadir, client: Metadir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the error, and not by what the library under it logs, or by its threads."""
    lay(server, remote)
    line.cut_after = 120_000
    behind = through(line, remote, monkeypatch)
    words = ["--metadir", str(client.layout.base), "sync", "pull", behind.url]
    program = "import mmmeta.sync.patience as p; p.PAUSE = 0.01; from mmmeta.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Nothing was changed here, and what has come is kept" in result.stderr
    assert line.hurt > 1


@writable
def test_a_push_over_a_line_that_is_cut(
    remote: Remote, line: Line, server: Metadir, client: Metadir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Always: nothing is there that a client would take. Now and then: it comes through."""
    line.cut_up = 60_000
    behind = through(line, remote, monkeypatch)
    with pytest.raises(SyncError, match=r"Push again, and it goes on with what is missing there"):
        push(server.layout.base, behind.url)
    assert line.hurt > 1
    assert not (remote.folder / "_mmmeta" / "head.json").exists()
    line.times = 2
    push(server.layout.base, behind.url)
    assert line.times == 0
    remote.settle()
    pull(client.layout.base, behind.url)
    client.update()
    assert contents(client) == contents(server)


@every
@pytest.mark.parametrize("times", [1, 1_000_000], ids=["once", "always"])
def test_a_line_that_changes_a_byte(
    remote: Remote, line: Line, times: int, server: Metadir, client: Metadir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: it is fetched again. Always: it is told, and nothing is changed."""
    lay(server, remote)
    line.flip_every, line.times = 100_000, times
    behind = through(line, remote, monkeypatch)
    if times == 1:
        pull(client.layout.base, behind.url)
        client.update()
        assert contents(client) == contents(server)
    else:
        with pytest.raises(SyncError) as caught:
            pull(client.layout.base, behind.url)
        if remote.kind != "sftp":  # where the line itself is proved, and is taken for one that is cut
            assert "has another SHA-256 than head.json says" in str(caught.value)
        assert_untouched(client)
    assert line.hurt >= 1


# A server that lies


def cut_short(metadir: Path) -> None:
    segment = next((metadir / "changes").iterdir())
    segment.write_bytes(segment.read_bytes()[:-10])


def turned(metadir: Path) -> None:
    segment = next((metadir / "changes").iterdir())
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)


def grown(metadir: Path) -> None:
    segment = next((metadir / "changes").iterdir())
    segment.write_bytes(segment.read_bytes() + bytes(100_000))


def gone(metadir: Path) -> None:
    next((metadir / "changes").iterdir()).unlink()


def nonsense(metadir: Path) -> None:
    (metadir / "head.json").write_text("<html>Please log in</html>")


def half_a_head(metadir: Path) -> None:
    head = metadir / "head.json"
    head.write_bytes(head.read_bytes()[:200])


LIES = {
    cut_short: "bytes and not the",
    turned: "another SHA-256",
    grown: "bytes and not the",
    gone: r"1-1\.jsonl\.gz",
    nonsense: r"head\.json",
    half_a_head: r"head\.json",
}


@every
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_server_that_lies(remote: Remote, lie: object, server: Metadir, client: Metadir) -> None:
    """The file is named, nothing is changed; once it tells the truth, all is well."""
    lay(server, remote)
    lie(remote.folder / "_mmmeta")  # type: ignore[operator]
    remote.settle()
    with pytest.raises(SyncError, match=LIES[lie]):  # type: ignore[index]
        pull(client.layout.base, remote.url)
    assert_untouched(client)
    shutil.rmtree(remote.folder / "_mmmeta")
    lay(server, remote)
    pull(client.layout.base, remote.url)
    client.update()
    assert contents(client) == contents(server)
