"""A state in PostgreSQL whose server goes away at any moment, comes back, or is behind a pooler."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from archives import Archive, SettableClock
from postgres import SCHEMA, emptied_server, query, server
from postgres_proxy import Proxy
from sqlalchemy import make_url
from test_shared_ledger import cut_connections

from mmmeta import Metadir
from mmmeta.errors import StateDbError
from mmmeta.files.file import File
from mmmeta.state.ledger.postgresql.server import Transaction

pytestmark = pytest.mark.services

EACH = 7
"""Of the statements of a round every so many-th is one before which the connection is cut; the rest have their turn in other
rounds, which have more or fewer statements."""


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


class Cut:
    """Cuts all connections before a statement.

    Attributes:
        at: how many statements are to come before it; None for never.
    """

    def __init__(self) -> None:
        self.at: int | None = None
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.count - 1 == self.at:
            cut_connections()


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Cut:
    made = Cut()
    for name in ("execute", "copy"):
        original = getattr(Transaction, name)

        def watched(self: Transaction, *arguments: Any, original: Any = original) -> Any:
            made()
            return original(self, *arguments)

        monkeypatch.setattr(Transaction, name, watched)
    return made


def mark(file: File) -> None:
    file["seen"] = file["title"]
    file.save()


def rounds(archive: Archive, worker: Metadir) -> None:
    """All that is said to the server: own values, an offer with payloads, a claim, a save, settling, giving back."""
    archive.client.update()
    archive.client.job("job", rerun_on="metadata").evaluate()
    worker.job("job", rerun_on="metadata").run(mark)
    archive.client.job("job", rerun_on="metadata").evaluate()


def test_the_connection_is_cut_before_any_statement(
    archive: Archive, url: str, tmp_path: Path, clock: SettableClock, cut: Cut
) -> None:
    """Either it is made anew, or one line says so and the next round goes on; in the end each file is done in its last
    version, and what was set is everywhere."""
    with Metadir(tmp_path / "worker", state=url, worker=True, clock=clock) as worker:
        archive.write("first", title="0")
        archive.publish()
        rounds(archive, worker)
        number = 0
        told: list[str] = []
        at: int | None = 0
        while at is not None:
            number += 1
            archive.write("first", title=str(number))
            archive.write(f"{number:03}", title="new")
            archive.publish()
            cut.count, cut.at = 0, at
            try:
                rounds(archive, worker)
            except StateDbError as error:
                told.append(str(error))
            at = at + EACH if cut.count > at else None
            cut.at = None
            rounds(archive, worker)
            if query(archive.client, "SELECT file FROM ledger WHERE status = 'failed'"):
                # It was cut within the function, which counts as a try that failed and waits for its turn.
                archive.client.job("job", rerun_on="metadata").retry()
                rounds(archive, worker)
            assert query(archive.client, "SELECT file, status FROM ledger WHERE status <> 'done'") == []
    assert number > 5
    assert len(told) > 2
    assert all("run it again" in line and "\n" not in line for line in told)
    files = {file.unique_value: file for file in archive.client.files}
    assert {name: file["seen"] for name, file in files.items()} == {name: file["title"] for name, file in files.items()}
    with archive.client._backend.state.ledger.looking() as view:
        assert view.miscounts() == []


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    if not str(make_url(url).query.get("host")).startswith("/"):
        pytest.skip("the server is not reached by a socket")
    made = Proxy(server())
    made.come()
    yield made
    made.go()


def test_a_server_that_is_away_for_a_moment_is_waited_for(proxy: Proxy, archive: Archive, tmp_path: Path) -> None:
    """Between two batches; each file is done once."""
    for name in "abcd":
        archive.write(name)
    archive.deliver()
    archive.client.job("job").evaluate()
    seen: list[str] = []

    def away(file: File) -> None:
        seen.append(file.unique_value)
        if len(seen) == 2:
            proxy.go()
            threading.Timer(1.0, proxy.come).start()

    with Metadir(tmp_path / "worker", state=proxy.url, worker=True) as worker:
        began = time.monotonic()
        report = worker.job("job", batch_size=2).run(away)
    assert report.done == 4
    assert sorted(seen) == ["a", "b", "c", "d"]
    assert time.monotonic() - began < 20


def test_a_server_that_stays_away_is_told(
    proxy: Proxy, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, before and in the middle of everything; the next run goes on, and does what was not recorded once more."""
    monkeypatch.setattr("mmmeta.state.ledger.postgresql.server.RECONNECT_FOR", 0.5)
    archive.write("a")
    archive.write("b")
    archive.deliver()
    archive.client.job("job").evaluate()
    with Metadir(tmp_path / "worker", state=proxy.url, worker=True) as worker:
        with pytest.raises(StateDbError, match="cannot be used") as caught:
            worker.job("job").run(lambda file: proxy.go())
        assert "\n" not in str(caught.value)
        with pytest.raises(StateDbError, match="is it running, and is the address right"):
            worker.job("job").run(mark)
        proxy.come()
        seen: list[str] = []
        while archive.client.status().jobs["job"].done < 2:
            worker.job("job").run(lambda file: seen.append(file.unique_value))
        assert sorted(seen) == ["a", "b"]
    proxy.go()
    with Metadir(archive.client_path, state=proxy.url) as client:
        archive.write("c")
        archive.publish()
        with pytest.raises(StateDbError, match="cannot be used"):
            client.update()
        proxy.come()
        assert client.update().how == "nothing new"
        assert client.job("job").due() == 1


# A pooler


@contextmanager
def pgbouncer(url: str, folder: Path) -> Iterator[str]:
    """The URL of a PgBouncer in transaction mode before the server."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    target = psycopg.conninfo.conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "users").write_text('"test" ""\n')
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={target['host']} user=test\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 3\n"
    )
    command = [program, str(settings)]
    user = next((name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()}), None)
    options: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid} if os.getuid() == 0 and user else {}
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
    try:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "pgbouncer.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
        yield f"postgresql+psycopg://test@127.0.0.1:{port}/{target['dbname']}?schema={SCHEMA}"
    finally:
        process.terminate()
        process.wait(10)


def test_behind_a_pooler_in_transaction_mode(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All works, and it is said that only leases tell of dead workers."""
    with tempfile.TemporaryDirectory(prefix="mmmeta-pgbouncer-") as folder:
        os.chmod(folder, 0o755)  # PgBouncer does not run as root, and must read its settings
        with pgbouncer(server(), Path(folder)) as pooled:
            for name in "abc":
                archive.write(name, title=name)
            archive.publish()
            with Metadir(archive.client_path, state=pooled) as client:
                client.update()
                assert client.job("job").due() == 3
                with Metadir(tmp_path / "worker", state=pooled, worker=True) as worker:
                    report = worker.job("job", batch_size=1).run(mark)
                assert report.done == 3
                assert client.job("again", where={"seen": "b"}).due() == 1
    assert "behind a connection pooler" in caplog.text
    with archive.client._backend.state.ledger.looking() as view:
        assert view.miscounts() == []
