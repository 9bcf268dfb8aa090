"""The ledger against a model of what it must say (see ``ledger_model``), over random histories.

The machine does the same things to the model and to real databases, and finds no difference: in each file's status and
attempts, in what is handed to the action, and in what reports and plans say.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_model import ATTEMPTS, Model, Rules, Version
from postgres import dump, emptied_server, end_leases, fewer

from mmmeta import File, Job
from mmmeta.jobs import keeper
from mmmeta.state.ledger.rules import STATUSES

OPEN = ("pending", "claimed", "failed", "dead")
NAMES = "abcd"
names = st.sampled_from(NAMES)
some = st.sets(names)
contents, titles, kinds = st.sampled_from("12"), st.sampled_from("tu"), st.sampled_from("xy")
versions = st.tuples(contents, titles, kinds).map(lambda keys: Version(*keys))
definitions = st.builds(
    Rules,
    kind=st.sampled_from([None, "x", "y"]),
    rerun_on=st.sampled_from(["content", "metadata", "never", ("title",)]),
    on_delete=st.sampled_from(["ignore", "action"]),
)


class LedgerMachine(RuleBasedStateMachine):
    """A server and a client in real folders, one job, and the model."""

    shared = False
    """Whether the ledger is in PostgreSQL."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="mmmeta-ledger-"))
        self.clock = SettableClock()
        state = emptied_server() if self.shared else None
        self.archive = Archive(self.root, server_clock=self.clock, client_clock=self.clock, state=state)
        self.archive.server.layout.config.parent.mkdir(parents=True)
        self.archive.server.layout.config.write_text("metadata:\n  unique: id\n")
        self.server: dict[str, Version] = {}
        self.model = Model()
        self.rules = Rules()
        self.holding: Job | None = None
        self.held: dict[str, File] = {}
        self.tokens: dict[str, int] = {}

    def teardown(self) -> None:
        if self.holding is not None:
            self.holding.release_all()
        self.archive.close()
        shutil.rmtree(self.root)

    # What happens at the server

    @initialize(versions=st.lists(versions, min_size=3, max_size=3))
    def begin(self, versions: list[Version]) -> None:
        """Three files, merged."""
        for name, version in zip(NAMES, versions, strict=False):
            self._publish(name, version)
        self.update()

    @rule(name=names, version=versions)
    def publish(self, name: str, version: Version) -> None:
        """A new file, or anything about one; a deleted one returns."""
        self._publish(name, version)

    @rule(name=names, key=st.sampled_from(["content", "title"]))
    def change(self, name: str, key: str) -> None:
        """Only its content, or only its metadata."""
        old = self.server.get(name)
        if old is not None and not old.deleted:
            self._publish(name, old._replace(**{key: {"1": "2", "2": "1", "t": "u", "u": "t"}[getattr(old, key)]}))

    @rule(name=names)
    def delete(self, name: str) -> None:
        if name in self.server and not self.server[name].deleted:
            self.archive.server.files.delete(id=name)
            self.server[name] = self.server[name]._replace(deleted=True)

    def _publish(self, name: str, version: Version) -> None:
        values = {"id": name, "content_hash": version.content, "title": version.title, "kind": version.kind}
        self.archive.server.files.upsert(values, ["id"])
        self.server[name] = version

    # What happens at the client

    @rule()
    def update(self) -> None:
        """Sync and merge; nothing is evaluated for a job that no project file knows."""
        self.archive.sync()
        self.archive.client.update()
        self.model.files = dict(self.server)

    @rule(failing=some, limit=st.none() | st.integers(1, 3))
    def run(self, failing: set[str], limit: int | None) -> None:
        """Each file that is due is handed over once, in order, and settled."""
        handed: list[tuple[str, str, bool]] = []
        report = self.job.run(self._action(handed, failing), limit=limit)
        self.model.evaluate(self.rules)
        self.model.take_back()
        expected = self.model.due()[:limit]
        assert sorted(name for name, _, _ in handed) == sorted(expected)
        was = dict.fromkeys(("done", "retracted", "failed", "dead"), 0)
        for name in expected:
            undo = self.model.entries[name].undo
            self.model.claim(name, "hand")
            self.model.settle(name, name not in failing)
            was[("retracted" if undo else "done") if name not in failing else self.model.entries[name].status] += 1
        assert {key: getattr(report, key) for key in was} == was
        assert (report.lost, report.attempted) == (0, len(expected))

    @rule(failing=some, at=names)
    def run_and_stop(self, failing: set[str], at: str) -> None:
        """Ctrl-C while this file is worked on: what was done is done, the rest is given back untried; this one comes alone."""
        handed: list[tuple[str, str, bool]] = []
        with suppress(KeyboardInterrupt):
            self.job.run(self._action(handed, failing, at))
        self.model.evaluate(self.rules)
        self.model.take_back()
        expected = self.model.due()
        seen = [name for name, _, _ in handed]
        assert len(set(seen)) == len(seen)
        assert set(seen) == set(expected) if at not in expected else seen[-1] == at and set(seen) <= set(expected)
        for name in seen:
            self.model.claim(name, "hand")
            if name == at:
                self.model.break_off(name)
            else:
                self.model.settle(name, name not in failing)

    @rule(count=st.integers(1, 3))
    def crash(self, count: int) -> None:
        """A worker takes files and dies; nobody can tell until the next one claims."""
        worker = self.job._bench.worker()
        worker.start()
        self.model.evaluate(self.rules)
        self.model.take_back()
        files = self._bench_claim(worker.name, count)
        self._check_claims(files, count, worker.name)
        worker.stop(holds=True)
        for file in files:
            self.model.entries[file.unique_value].gone = True

    @rule(count=st.integers(1, 3))
    def hold(self, count: int) -> None:
        """Files are claimed for a loop of one's own."""
        if not self.held:
            self.holding = self.job
        assert self.holding is not None
        files = self.holding.claim(count)
        self.model.evaluate(self.rules)
        self.model.take_back()
        self._check_claims(files, count, "hand")
        self.held.update({file.unique_value: file for file in files})

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["done", "failed", "release"]))
    def let_go(self, data: Any, how: str) -> None:
        """One of them is settled, in vain if its lease ended meanwhile and somebody took it back."""
        name = data.draw(st.sampled_from(sorted(self.held)))
        file, entry = self.held.pop(name), self.model.entries.get(name)
        assert self.holding is not None
        assert file.claim is not None
        lost = entry is None or entry.holder != "hand" or file.claim.token != self.tokens[name]
        status = None
        if how == "release":
            self.holding.release(file)
        else:
            status = self.holding.done(file)[0] if how == "done" else self.holding.failed(file, ValueError("no"))
        if lost:
            assert status in (None, "lost")
        elif how == "release":
            self.model.release(name)
        else:
            self.model.settle(name, how == "done")
            assert status == self.model.entries[name].status
        if not self.held:
            self.holding = None

    @rule()
    def leases_end(self) -> None:
        """What is claimed may be taken by anybody; who settles first counts."""
        if self.archive.client.is_client:
            end_leases(self.archive.client)
        for entry in self.model.entries.values():
            entry.gone = entry.status == "claimed"

    @rule(days=st.just(2))
    def wait(self, days: int) -> None:
        """Long enough for everything that failed."""
        self.clock.forward(days=days)
        for entry in self.model.entries.values():
            entry.due = entry.status == "failed"

    # What a person does

    @precondition(lambda self: not self.held)  # two definitions at work at once do each other's files again
    @rule(rules=definitions)
    def define(self, rules: Rules) -> None:
        """The project file is edited; nothing happens until the job is asked something."""
        self.rules = rules

    @precondition(lambda self: not self.held)
    @rule(data=st.data())
    def define_a_little(self, data: Any) -> None:
        """One word of it."""
        other = data.draw(definitions)
        word = data.draw(st.sampled_from(Rules._fields))
        self.rules = self.rules._replace(**{word: getattr(other, word)})

    @rule(dead=st.booleans())
    def retry(self, dead: bool) -> None:
        self.model.evaluate(self.rules)
        expected = self.model.retry(list(NAMES), ("failed", "dead") if dead else ("failed",))
        assert self.job.retry(dead=dead) == expected

    @rule(files=some)
    def retry_files(self, files: set[str]) -> None:
        """Done ones as well."""
        self.model.evaluate(self.rules)
        # A name that no file has is an error, and has a test of its own.
        known = sorted(files & {file.unique_value for file in self.archive.client.files.find(deleted=None)})
        self.model.retry(known, ("failed", "dead", "done"))
        self.job.retry(files=known)

    @rule(files=st.none() | some)
    def dismiss(self, files: set[str] | None) -> None:
        self.model.evaluate(self.rules)
        known = {file.unique_value for file in self.archive.client.files.find(deleted=None)}
        chosen = None if files is None else sorted(files & known)
        assert self.job.dismiss(chosen) == self.model.dismiss(list(NAMES) if chosen is None else chosen)

    @rule(files=some)
    def adopt(self, files: set[str]) -> None:
        self.model.evaluate(self.rules)
        assert self.job.adopt(sorted(files)).adopted == self.model.adopt(sorted(files))

    @rule()
    def forget(self) -> None:
        known = len(self.model.entries)
        assert self.job.forget() == known
        self.model.entries, self.model.rules = {}, None

    @rule()
    def plan(self) -> None:
        """It says what a run would find, and writes nothing."""
        before = dump(self.archive.client)
        plan = self.job.plan()
        assert dump(self.archive.client) == before
        looked = deepcopy(self.model)
        looked.evaluate(self.rules)
        assert plan.files == len(looked.due())

    # What must hold after each step

    @invariant()
    def status(self) -> None:
        """Without evaluating anything: what the ledger says of each file."""
        if not self.archive.client.is_client:
            return
        with self.archive.client._backend.state.ledger.looking() as view:
            entries = view.entries("import", STATUSES)
            kept = {status: count for status in STATUSES if (count := view.count("import", status))}
            assert view.miscounts() == []
        # How many attempts it took is history where a file is done or set aside.
        says = {
            entry.file: (entry.status, entry.retract, entry.attempts if entry.status in OPEN else 0)
            for entry in entries
        }
        expected = {
            name: (entry.status, entry.undo, entry.attempts if entry.status in OPEN else 0)
            for name, entry in self.model.entries.items()
        }
        assert says == expected
        assert kept == self.model.counts()

    @rule()
    def evaluate(self) -> None:
        """Only look."""
        self.model.evaluate(self.rules)
        assert [file.unique_value for file in self.job.pending()] == self.model.due()

    # Helpers

    @property
    def job(self) -> Job:
        """The job as it is defined now, made anew as in another process."""
        rerun_on = self.rules.rerun_on if isinstance(self.rules.rerun_on, str) else list(self.rules.rerun_on)
        return self.archive.client.job(
            "import",
            where={} if self.rules.kind is None else {"kind": self.rules.kind},
            rerun_on=rerun_on,
            on_delete=self.rules.on_delete,
            attempts=ATTEMPTS,
        )

    def _action(
        self, handed: list[tuple[str, str, bool]], failing: set[str], stop_at: str | None = None
    ) -> Callable[[File], None]:
        def work(file: File) -> None:
            name = file.unique_value
            assert file.claim is not None
            self._check_token(name, file.claim.token)
            handed.append((name, file["content_hash"], file.claim.retract))
            version = self.model.files[name]
            assert (version.content, version.deleted) == (file["content_hash"], file.claim.retract)
            if name == stop_at:
                raise KeyboardInterrupt
            if name in failing:
                raise ValueError(f"cannot do {name}")

        return work

    def _bench_claim(self, worker: str, count: int) -> list[File]:
        job = self.job
        job.evaluate()
        return job._bench.claim(count, worker, None) or []

    def _check_claims(self, files: list[File], count: int, holder: str) -> None:
        """A file in whose hands a worker died comes alone, so it may be fewer than were asked for."""
        claimed = [file.unique_value for file in files]
        due = self.model.due()
        assert claimed == due[: len(claimed)]
        assert len(claimed) <= count
        assert bool(claimed) == bool(due)
        for file in files:
            assert file.claim is not None
            entry = self.model.entries[file.unique_value]
            assert (file.claim.attempt, file.claim.retract) == (entry.attempts + 1, entry.undo)
            self.model.claim(file.unique_value, holder)
            self._check_token(file.unique_value, file.claim.token)

    def _check_token(self, name: str, token: int) -> None:
        """It only ever grows, or a receipt in a target would refuse it."""
        assert token > self.tokens.get(name, -1)
        self.tokens[name] = token


class SharedLedgerMachine(LedgerMachine):
    """The same with a ledger in PostgreSQL."""

    shared = True


SHARED = pytest.param(SharedLedgerMachine, marks=pytest.mark.services)


@pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning")
@pytest.mark.parametrize("machine", [LedgerMachine, SHARED], ids=["sqlite", "postgresql"])
def test_the_ledger_says_what_the_model_says(machine: type[LedgerMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Status and attempts of each file, what is handed over, tokens, plans and reports."""
    monkeypatch.setattr(keeper, "BEAT_EVERY", 1e9)  # nobody prolongs the leases that the machine ends
    run_state_machine_as_test(machine, settings=settings(fewer(machine.shared), stateful_step_count=30))
