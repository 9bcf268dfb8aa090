"""Hosts of their own: PostgreSQL on one, workers on others, which die, are cut off and come back, or have a wrong clock."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import hosts
import psycopg
import pytest
from archives import Archive
from hosts import Host, Program, Wire, start_postgres, wait_for

from mmmeta.clock import utcnow
from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore
from mmmeta.state.ledger.postgresql.worker import _key

pytestmark = pytest.mark.services

SLACK = 6.0
"""Seconds on top of a bound, for a slow machine: a lease that has ended is seen by the next who claims."""

LEASE = 3.0
"""Seconds; where nothing else is said."""

LONG = 600.0
"""A lease that no test waits for."""

SILENT = 30.0
"""Seconds after which the server takes a host for gone that says nothing (docs/deploy.md: half a minute)."""

PAUSE = 2.0
"""Seconds between two beginnings of a worker."""

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    state: "{{ env.STATE_URL }}"
    jobs:
      rows:
        load: {to: "{{ env.TARGET_URL }}", table: rows, mode: append, columns: {id: content_hash, title: title}}
        batch_size: 4
        lease: LEASE
"""

GATE = """
SET search_path TO public;
CREATE TABLE held (address inet);
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_sleep(0.1);
    WHILE EXISTS (SELECT 1 FROM public.held WHERE address = inet_client_addr()) LOOP PERFORM pg_sleep(0.05); END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER gate BEFORE INSERT ON _mmmeta_receipts FOR EACH STATEMENT EXECUTE FUNCTION gate();
SET search_path TO mmmeta, public;
"""
"""Before the first word to the target is heard: it takes a moment, and where a host is held, until it is let in."""


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    reason = hosts.why_not()
    if reason is not None:
        pytest.skip(reason)
    with hosts.wired() as made:
        yield made


@pytest.fixture(scope="module")
def server(wire: Wire) -> Server:
    host = wire.host()
    return Server(host, *start_postgres(host))


@dataclass(frozen=True)
class Server:
    """A PostgreSQL on a host of its own: its URL for other hosts, and for the tests."""

    host: Host
    url: str
    here: str


@dataclass
class Workplace:
    """A host on which `mmmeta work` is begun anew when it has ended, as Dagster's sensor does; nothing but a project file."""

    host: Host
    env: dict[str, str]
    lease: float = LEASE
    programs: list[Program] = field(default_factory=list)
    begun: float = 0.0

    def __post_init__(self) -> None:
        (self.host.disk / "mmmeta.yaml").write_text(PROJECT.replace("LEASE", f"{self.lease:g}s"))

    def work(self) -> None:
        if (not self.programs or self.programs[-1].ended) and time.monotonic() > self.begun + PAUSE:
            self.begun = time.monotonic()
            command = [sys.executable, "-m", "mmmeta", "work", "--quiet"]
            with (self.host.disk / "said").open("ab") as said:
                self.programs.append(self.host.start(*command, env=self.env, stdout=said, stderr=said))

    @property
    def said(self) -> str:
        return (self.host.disk / "said").read_text()


class Watch:
    """Looks at the ledger from the server's own host, and at who holds what for how long. It asks for files as a worker does, but
    for none, so that what is nobody's any more is free whether the others are slow or not."""

    def __init__(self, connection: psycopg.Connection[Any], store: PostgresLedgerStore) -> None:
        self.connection = connection
        self.address: dict[str, str] = {}
        self._store = store
        self._beyond: dict[tuple[str, int], float] = {}
        with store.looking() as view:
            rules = view.rules("rows")
        assert rules is not None
        self._rules = rules

    def ask(self) -> None:
        """Nobody may hold anything beyond a lease, but for the moment in which the row is in somebody's hands."""
        ((now,),) = self.rows("SELECT extract(epoch FROM clock_timestamp())::float8")
        with self._store.changing(self._rules) as ledger:
            assert ledger.claim(1, worker="lease/watch", run_id=None, lease=1, among=[]) == []
        sql = "SELECT file, token FROM ledger WHERE status = 'claimed' AND lease_until <= %s"
        self._beyond = {claim: self._beyond.get(claim, now) for claim in self.rows(sql, now)}
        assert all(now - since < SLACK for since in self._beyond.values()), self._beyond

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.encode(), parameters or None).fetchall()

    def held(self, host: Host) -> dict[str, int]:
        """File → token of what is claimed by a host's workers."""
        seen = dict(
            self.rows(
                "SELECT l.classid::bigint << 32 | l.objid::bigint, host(a.client_addr) FROM pg_locks AS l "
                "JOIN pg_stat_activity AS a USING (pid) WHERE l.locktype = 'advisory' AND l.objsubid = 1"
            )
        )
        claimed = self.rows("SELECT file, token, worker FROM ledger WHERE status = 'claimed'")
        for _, _, worker in claimed:
            if (address := seen.get(_key(worker))) is not None:
                self.address[worker] = address
        return {file: token for file, token, worker in claimed if self.address.get(worker) == host.address}

    def still(self, host: Host, held: dict[str, int]) -> bool:
        """Whether a host has one of these claims yet."""
        return bool(self.held(host).items() & held.items())

    def done(self, held: dict[str, int]) -> bool:
        """Whether somebody else has done all of these, under claims of his own."""
        rows = self.rows("SELECT file, token FROM ledger WHERE status = 'done' AND file = ANY(%s)", list(held))
        return len(rows) == len(held) and all(token > held[file] for file, token in rows)

    def late(self, host: Host) -> set[str]:
        """The files of which a host said too late what became of them: the target had refused them, then the ledger did."""
        rows = self.rows(
            "SELECT worker, file FROM attempts WHERE status = 'lost' AND error_message LIKE 'another worker has taken%%'"
        )
        return {file for worker, file in rows if self.address.get(worker) == host.address}

    def sessions(self, host: Host) -> int:
        """How many connections the server has with a host, as far as it knows."""
        ((count,),) = self.rows("SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s", host.address)
        return int(count)

    def hold(self, *held: Host) -> None:
        """The next words of hosts to the target are heard, but nothing is done about them until they are let in."""
        for host in held:
            self.connection.execute("INSERT INTO public.held VALUES (%s)", (host.address,))

    def let_in(self, *held: Host) -> None:
        for host in held:
            self.connection.execute("DELETE FROM public.held WHERE address = %s", (host.address,))

    def waiting(self, host: Host) -> bool:
        """Whether it stands at the gate with files in its hands."""
        sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND client_addr = %s"
        return bool(self.held(host)) and bool(self.rows(sql, host.address))


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection on the server's own host; each statement is a transaction."""
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as connection:
        connection.execute("SET search_path TO mmmeta, public")
        yield connection


def test_hosts_that_die_that_are_cut_off_and_that_have_a_wrong_clock(
    wire: Wire, server: Server, tmp_path: Path
) -> None:
    """Each version of a file is in the target once, and in the end the last one. A killed process's files are free at once; those
    of a host that is silent when the lease ends, and where that is long when the server takes it for gone. What a host that was
    cut off says late is refused by the target and by the ledger."""
    desk, first, second, third = (wire.host() for _ in range(4))
    env = {**os.environ, "STATE_URL": server.url, "TARGET_URL": server.url}
    archive = Archive(tmp_path)
    (tmp_path / "mmmeta.yaml").write_text(PROJECT.replace("LEASE", f"{LEASE:g}s"))
    versions: dict[str, int] = {}

    def mmmeta(*arguments: str) -> None:
        desk.run(sys.executable, "-m", "mmmeta", "--project", str(tmp_path / "mmmeta.yaml"), *arguments, env=env)

    def publish(names: range) -> None:
        for name in (f"{number:03}" for number in names):
            versions[name] = versions.get(name, 0) + 1
            archive.write(name, title=f"version {versions[name]}")
        archive.publish()
        mmmeta("update")

    publish(range(14))
    mmmeta("work", "--limit", "1", "--quiet")
    store = PostgresLedgerStore(server.here, None, utcnow, None)
    with connected(server.here) as connection, closing(store):
        watch = Watch(connection, store)
        watch.connection.execute(GATE)
        places = [
            Workplace(first, env, lease=LONG),
            Workplace(second, env),
            Workplace(third, {**env, **(hosts.wrong_clock("+1h") or {})}, lease=LONG),
        ]

        def until(met: Callable[[], bool], seconds: float, what: str) -> None:
            def look() -> bool:
                for place in places:
                    place.work()
                watch.ask()
                return met()

            wait_for(look, seconds, what)

        watch.hold(first, second, third)
        until(lambda: all(map(watch.waiting, (first, second, third))), 120, "work on three hosts")
        of_first, of_second = watch.held(first), watch.held(second)
        first.die()
        second.pull_cable()
        silent = time.monotonic()
        del places[0]
        watch.let_in(first)
        until(lambda: not watch.still(second, of_second), LEASE + SLACK, "the lease of who is cut off")
        watch.let_in(third)
        until(lambda: watch.done(of_second), 15, "what it had")
        second.plug_in()
        watch.let_in(second)

        until(lambda: watch.late(second) == set(of_second), 20, "what was said late")
        assert len(places[0].programs) == 1, places[0].said
        watch.hold(second, third)
        publish(range(100, 160))
        until(lambda: watch.waiting(second) and watch.waiting(third), 120, "work on two hosts")
        of_third = watch.held(third)
        places[1].programs[-1].kill()
        until(lambda: not watch.still(third, of_third), 1 + SLACK, "what a killed process had")
        watch.let_in(second, third)
        publish(range(0, 14, 2))
        until(
            lambda: not watch.still(first, of_first),
            SILENT + SLACK - (time.monotonic() - silent),
            "what a dead host had",
        )
        until(lambda: watch.sessions(first) == 0, SLACK, "the connections of a dead host")
        until(lambda: watch.rows("SELECT 1 FROM ledger WHERE status <> 'done'") == [], 60, "all")

        loaded = watch.rows("SELECT id, title, count(*) FROM public.rows GROUP BY id, title")
        assert [row for row in loaded if row[2] > 1] == []
        assert {(name, f"version {number}") for name, number in versions.items()} <= {row[:2] for row in loaded}
        workers = watch.rows("SELECT worker FROM attempts WHERE status = 'done' GROUP BY worker")
        assert {watch.address.get(worker) for (worker,) in workers} >= {second.address, third.address}
    archive.close()


BOTH_ENDS = """
import socket, sys
from mmmeta.state.ledger.postgresql.address import address_of
from mmmeta.state.ledger.postgresql.server import Server
from mmmeta.target.engine import open_engine

def show(connection):
    line = socket.socket(fileno=connection.fileno())
    named = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    print(line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
          *(connection.execute(f"SHOW {name}").fetchone()[0] for name in named))
    line.detach()

connection = Server(address_of(sys.argv[1])).connect()
show(connection)
connection.close()
engine, _ = open_engine(sys.argv[1])
with engine.connect() as connection:
    show(connection.connection.driver_connection)
"""


def test_both_ends_notice_that_the_other_is_gone(wire: Wire, server: Server) -> None:
    """Of the ledger's connections, and of those to a target: idle, or with words on their way."""
    said = wire.host().run(sys.executable, "-c", BOTH_ENDS, server.url)
    assert said.splitlines() == ["30000 1 10 5 4 30000"] * 2


FAILING = """
version: 1
metadirs:
  archive:
    path: ./client
    state: "{{ env.STATE_URL }}"
    jobs:
      fails:
        command: {run: ["false"]}
        backoff: 60s
"""


@pytest.mark.parametrize("by", ["+1h", "-1h"])
def test_a_failure_on_a_host_with_a_wrong_clock(wire: Wire, server: Server, tmp_path: Path, by: str) -> None:
    """It is due again when its backoff is over, everywhere: no host comes an hour too early or too late, and a look at the ledger
    says so on each."""
    desk, wrong = wire.host(), wire.host()
    schema = f"clock_{'ahead' if by[0] == '+' else 'behind'}"
    env = {**os.environ, "STATE_URL": f"{server.url}?schema={schema}"}
    archive = Archive(tmp_path)
    archive.write("a")
    archive.publish()
    for folder in (tmp_path, wrong.disk):
        (folder / "mmmeta.yaml").write_text(FAILING)
    wrongly = {**env, **(hosts.wrong_clock(by) or {})}
    at_desk = (sys.executable, "-m", "mmmeta", "--project", str(tmp_path / "mmmeta.yaml"))
    desk.run(*at_desk, "update", env=env)
    with connected(server.here) as connection:
        connection.execute(f"SET search_path TO {schema}".encode())

        def attempts() -> int:
            program = wrong.start(sys.executable, "-m", "mmmeta", "work", env=wrongly)
            assert program.waiting.wait(60) in (0, 3)
            found = connection.execute("SELECT attempts FROM ledger").fetchone()
            return int(found[0]) if found else 0

        assert (attempts(), attempts()) == (1, 1)
        row = connection.execute(
            "SELECT due - extract(epoch FROM clock_timestamp())::float8, "
            "extract(epoch FROM clock_timestamp() - settled_at::timestamptz)::float8, "
            "extract(epoch FROM clock_timestamp() - heartbeat::timestamptz)::float8 FROM ledger JOIN jobs USING (job)"
        ).fetchone()
    assert row is not None
    due, settled, beat = row
    assert -60 < due < 80
    assert -SLACK < settled < 60
    assert -SLACK < beat < 60
    for host, given in ((desk, env), (desk, wrongly)):
        now = time.time() + (0 if given is env else 3600 if by[0] == "+" else -3600)
        (job,) = json.loads(host.run(*at_desk, "jobs", "--json", env=given))["jobs"]
        assert abs(datetime.fromisoformat(job["earliest_due"]).timestamp() - now) < 90
        assert abs(datetime.fromisoformat(job["heartbeat"]).timestamp() - now) < 90
    archive.close()


UNREACHABLE = """
import sys
import psycopg
from mmmeta.state.ledger.postgresql.errors import may_come_back

for address in sys.argv[1:]:
    try:
        psycopg.connect(host=address, user="test", connect_timeout=10)
    except psycopg.OperationalError as error:
        print(may_come_back(error), error)
"""


def test_who_is_cut_off_waits_as_for_a_server_that_is_started_anew(wire: Wire) -> None:
    """Whatever the system says of it: nobody answers at the address, no way leads there, nobody knows the name."""
    host, other = wire.host(), wire.host()
    other.pull_cable()
    said = host.run(sys.executable, "-c", UNREACHABLE, other.address, "192.0.2.1", "db.example.org")
    lines = [line for line in said.splitlines() if line.startswith(("True", "False"))]
    assert [line.split()[0] for line in lines] == ["True"] * 3, said
