"""Workers on one ledger in PostgreSQL, killed and cut off at random while files are published; see docs/guarantees.md.

    .ci/with-postgres python tests/workers                  100,000 small files
    .ci/with-postgres python tests/workers --files 5000     a minute
    … --seed 7          the same publications, and the same kills as far as one machine is like another
    … --publications 3  fewer than twelve
    … --keep FOLDER     leave what the processes have said, and the tables, to be looked at

Prints what is wrong, and a table. Ends with 1 where there was anything. Needs ``MMMETA_TEST_POSTGRES``, which names a PostgreSQL of
which schemas may be removed.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import facts
import psycopg
from audit import calls_again, wrong
from processes import Process, Slot, begin
from publisher import BATCH, JOBS, MEASURED, STATE, TARGET, Publisher
from sqlalchemy.engine import URL, make_url
from tcp_proxy import Line, line_to

HERE = Path(__file__).parent

WORKERS = 4
"""Which work at the same time."""

HURTS = 80
"""How often a worker is hurt while the files that are there at first are done: by how much was done, not by the clock, so that a slow
machine comes to an end as well."""

AFTER = 0.5
"""Seconds at most from what was done to the hurt, so that it comes in the middle of anything."""

PUBLICATIONS = 12

MOST_PUBLICATIONS = 40
"""Then there are no more, however much is still due."""

PAUSE = (0.2, 2.0)
"""Seconds from one publication to the next."""

LONGEST_STEP = 120.0
"""Seconds, and one more for each 500 files; whoever brings nothing further for so long hangs."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests/workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--publications", type=int, default=PUBLICATIONS)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    options = parser.parse_args()
    if options.files < 100 or options.publications < 1:
        parser.error("at least 100 files and one publication")
    server = os.environ.get("MMMETA_TEST_POSTGRES")
    if not server:
        parser.error("MMMETA_TEST_POSTGRES is not set: run it under .ci/with-postgres")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is temporary goes then, too
    print(f"{options.files:,} files, seed {options.seed} (make: FILES={options.files} SEED={options.seed})", flush=True)
    with contextlib.ExitStack() as stack:
        if options.keep:
            root = options.keep.resolve()
            root.mkdir(parents=True, exist_ok=True)
        else:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmmeta-workers-")))
        trial = Trial(root, make_url(server), options.files, options.seed, options.publications)
        stack.enter_context(trial.at_the_server(keep=bool(options.keep)))
        return trial.run()


class Trial:
    """One run; ``run`` gives the exit code."""

    def __init__(self, root: Path, server: URL, files: int, seed: int, publications: int) -> None:
        self.root = root
        self.publisher = Publisher(root, files)
        self.publications = random.Random(seed)
        self.chance = random.Random(seed + 1)
        self.wanted = publications
        self._longest = LONGEST_STEP + files / 500
        self.published: list[int] = []
        self.found: list[str] = []
        self.times: dict[str, float] = {}
        self.rates: dict[str, float] = {}
        self.slots: list[Slot] = []
        self._update_took = 1.0
        self._over = threading.Event()
        self._others: list[Process] = []
        # All have one URL, and libpq's own variables say how it is reached: a row's place is the same for everybody.
        where = {"host": server.host or str(server.query.get("host", "localhost")), "port": str(server.port or 5432)}
        self._plain = server.difference_update_query(["host", "port"])._replace(host=None, port=None)
        self._target: int | str = int(where["port"])
        if where["host"].startswith("/"):
            self._target = f"{where['host']}/.s.PGSQL.{where['port']}"
        elif where["host"] not in ("localhost", "127.0.0.1"):
            raise SystemExit(f"{where['host']} is another machine: the lines are made on this one")
        self._url = server.set(drivername="postgresql").render_as_string(hide_password=False)
        given = self._plain.render_as_string(hide_password=False)
        self.environment = {
            "STATE_URL": f"{given}{'&' if '?' in given else '?'}schema={STATE}",
            "TARGET_URL": given,
            "PYTHONPATH": os.pathsep.join(
                [str(HERE), str(HERE.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        self.direct = {**self.environment, "PGHOST": where["host"], "PGPORT": where["port"]}

    @contextmanager
    def at_the_server(self, *, keep: bool) -> Iterator[None]:
        """What the server has of ours goes in the end."""
        with self._connected() as connection:
            facts.empty(connection)
            connection.execute(f"CREATE SCHEMA {TARGET}".encode())
        try:
            yield
        finally:
            self._over.set()
            for slot in self.slots:
                slot.end()
            for process in self._others:
                process.popen.kill()
                process.popen.wait()
            if not keep:
                with self._connected() as connection:
                    facts.empty(connection)

    @contextmanager
    def _connected(self) -> Iterator[facts.Connection]:
        with psycopg.connect(self._url, autocommit=True, application_name="tests/workers") as connection:
            yield connection

    def run(self) -> int:
        for name in [name for name in os.environ if name.startswith(("MMMETA", "PG"))]:
            del os.environ[name]
        with contextlib.ExitStack() as stack:
            lines = [stack.enter_context(line_to(self._target)) for _ in range(WORKERS + 1)]
            connection = stack.enter_context(self._connected())
            with self._timed("made and evaluated"):
                self._make(connection)
            if not self.found:
                with self._timed("killed and cut"):
                    self._work(connection, lines)
                self._bring_to_its_end(connection)
                self._judge(connection)
                self._measure(connection)
                self._table(connection)
        return int(bool(self.found))

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.times[what] = time.monotonic() - began

    def _make(self, connection: facts.Connection) -> None:
        """The archive, known to all jobs; a worker has made the tables, and they are watched."""
        self.publisher.make()
        self._publish()
        self._once(self.publisher.evaluating, "update")
        began = time.monotonic()
        self._once(self.publisher.evaluating, "update")
        self._update_took = time.monotonic() - began
        self._once(self.publisher.away, "work", "--limit", "10")
        if not self.found:
            facts.watch(connection)

    def _publish(self) -> None:
        """What the server has now; nobody disturbs it."""
        self._once(self.publisher.server, "--metadir", ".", "generate", "--ensure")
        self.publisher.sync()

    def _once(self, folder: Path, *arguments: str) -> None:
        """``mmmeta`` undisturbed, to its end."""
        process = begin(f"undisturbed.{len(self._others)}", self.root, folder, self.direct, *arguments)
        self._others.append(process)
        process.code = process.popen.wait()
        self._note(filter(None, [process.trouble()]))

    # Busy

    def _work(self, connection: facts.Connection, lines: list[Line]) -> None:
        """Workers at work and hurt while files are published and evaluated, until nothing is due."""
        *workers, coordinator = self.slots = [
            Slot(name, self.root, line, self.environment)
            for name, line in zip([*(f"worker{number}" for number in range(WORKERS)), "update"], lines, strict=True)
        ]
        publishing = threading.Thread(target=self._guarded, args=(lambda: self._keep_publishing(coordinator),))
        publishing.start()
        until, before = time.monotonic() + self._longest, (0, 0)
        work, moment = 0, math.inf
        try:
            while True:
                self._tend(connection, workers)
                reached = facts.attempts(connection), len(self.published)
                if reached != before:
                    until, before = time.monotonic() + self._longest, reached
                if reached[0] >= work and moment == math.inf:
                    moment = time.monotonic() + self.chance.uniform(0, AFTER)
                if time.monotonic() >= moment:
                    self.chance.choice(workers).hurt(self.chance)
                    more = self.chance.uniform(0, 2 * len(JOBS) * self.publisher.count / HURTS)
                    work, moment = reached[0] + int(more), math.inf
                if not publishing.is_alive() and not facts.due(connection):
                    break
                if time.monotonic() > until:
                    self._note(["the work comes to no end"])
                    break
                time.sleep(0.05)
        finally:
            self._over.set()
            publishing.join()
        for slot in self.slots:
            slot.spare()

    def _tend(self, connection: facts.Connection, workers: list[Slot]) -> None:
        """Where something is due and no worker is, one is begun, as by whoever looks after them."""
        due: int | None = None
        for slot in workers:
            if (ended := slot.look()) is not None:
                self._note(filter(None, [ended.trouble()]))
            if slot.at_work is None:
                due = facts.due(connection) if due is None else due
                # One for each batch at most, or most would only come to see that there is nothing left.
                if due and sum(other.at_work is not None for other in workers) <= due // BATCH:
                    jobs = random.Random(len(slot.had)).sample(JOBS, len(JOBS))  # not all at the same one
                    slot.begin(self.publisher.away, "work", "--quiet", *jobs)

    def _keep_publishing(self, slot: Slot) -> None:
        """One publication after the other, each evaluated by one who is hurt, too."""
        with self._connected() as connection:
            while len(self.published) < MOST_PUBLICATIONS and not self._over.is_set():
                # Until there is hardly anything left of what was there in the beginning.
                if len(self.published) >= self.wanted and facts.due(connection) < self.publisher.count // 10:
                    return
                self._over.wait(self.publications.uniform(*PAUSE))
                self.published.append(self.publisher.change(self.publications, self.wanted))
                self._publish()
                for disturbed in (True, self.publications.random() < 0.5, False):
                    if self._evaluate(slot, disturbed=disturbed):
                        break
                else:
                    self._note(["what was published cannot be evaluated"])

    def _evaluate(self, slot: Slot, *, disturbed: bool) -> bool:
        """Whether it came to its end; ``disturbed``: at any moment of the time that it took before."""
        moment = self.publications.uniform(0, self._update_took)
        slot.spare()
        slot.begin(self.publisher.evaluating, "update")
        began = time.monotonic()
        while (ended := slot.look()) is None:
            if disturbed and time.monotonic() - began > moment:
                disturbed = False
                slot.hurt(self.publications)
            time.sleep(0.02)
        self._note(filter(None, [ended.trouble()]))
        if ended.code == 0:
            self._update_took = time.monotonic() - began
        return ended.code == 0

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._note([f"publishing: {error!r}"])

    # Quiet

    def _bring_to_its_end(self, connection: facts.Connection) -> None:
        """As the next run would, undisturbed."""
        until = time.monotonic() + self._longest
        while any(slot.at_work for slot in self.slots):
            for slot in self.slots:
                if (ended := slot.look()) is not None:
                    self._note(filter(None, [ended.trouble()]))
            if time.monotonic() > until:
                self._note(["workers come to no end"])
                return
            time.sleep(0.05)
        self._publish()
        self._once(self.publisher.evaluating, "update")
        self._once(self.publisher.away, "work")
        until = time.monotonic() + self._longest
        while facts.due(connection) and time.monotonic() < until:  # a failure waits for its second
            time.sleep(1)
            self._once(self.publisher.away, "work")

    def _judge(self, connection: facts.Connection) -> None:
        processes = [process for slot in self.slots for process in slot.had]
        hurt = {process.name for process in processes if process.is_hurt}
        found = facts.find(connection, self.publisher, sorted(self.root.glob("*.calls")), hurt)
        self.calls, self.again = len(found.calls), calls_again(found)
        self._note(wrong(found))

    def _measure(self, connection: facts.Connection) -> None:
        """All files once more, by one worker and by four, into tables that nobody watches; they begin at one word, and their
        seconds are from it to the end of the last batch."""
        shutil.copytree(self.publisher.evaluating / "client", self.publisher.measuring / "client")
        self._once(self.publisher.measuring, "update")
        files = len(self.publisher.truth)
        for job, workers in MEASURED.items():
            with connection.transaction():
                connection.execute(f"LOCK TABLE {STATE}.ledger IN ACCESS EXCLUSIVE MODE".encode())
                processes = [
                    begin(f"{job}.{number}", self.root, self.publisher.measuring, self.direct, "work", "--quiet", job)
                    for number in range(workers)
                ]
                self._others += processes
                until = time.monotonic() + self._longest
                while facts.waiting(connection) < workers and time.monotonic() < until:
                    time.sleep(0.02)
                began = datetime.now(timezone.utc)
            for process in processes:
                process.code = process.popen.wait()
            self._note(filter(None, [process.trouble() for process in processes]))
            self.rates[job] = files / (facts.ended(connection, job) - began).total_seconds()

    def _note(self, found: Iterable[str]) -> None:
        for what in found:
            self.found.append(what)
            print(f"WRONG {what}", flush=True)

    def _table(self, connection: facts.Connection) -> None:
        told: Counter[str] = Counter()
        for slot in self.slots:
            for process in slot.had:
                told.update(signal_.name for signal_ in process.told)
                told["cuts"] += process.cuts
        work = sum(facts.outcomes(connection).values()) - sum(len(self.publisher.truth) for _ in MEASURED)
        busy = self.times["killed and cut"]
        print(f"{len(self.publisher.truth):8,}  files in the end, {sum(self.published):,} changed on the way")
        print(f"{len(self.published):8,}  publications meanwhile")
        print(f"{told['SIGKILL']:8,}  kills, {told['SIGTERM']:,} told to end, {told['SIGSTOP']:,} stopped for a while")
        print(f"{told['cuts']:8,}  connections cut")
        print(f"{sum(len(slot.had) for slot in self.slots):8,}  processes")
        print(f"{self.calls:8,}  calls of a function, {self.again:,} of them again, after a kill or a cut")
        ends = ", ".join(f"{count:,} {status}" for status, count in facts.outcomes(connection).items())
        print(f"{'':8}  attempts: {ends}")
        print(f"{work / busy:8,.0f}  files of a job a second, {WORKERS} workers killed and cut, {busy:.0f} seconds")
        for job, workers in MEASURED.items():
            words = "1 worker" if workers == 1 else f"{workers} workers"
            print(f"{self.rates[job]:8,.0f}  files a second into a table, {words} undisturbed")
        print(f"{self.rates['four'] / self.rates['one']:8.2f}  times as fast with {WORKERS} workers as with 1")
        print(f"{len(self.found)} wrong")


if __name__ == "__main__":
    sys.exit(main())
