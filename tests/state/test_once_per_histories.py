"""``once_per`` over random histories: no document is lost, and none is done twice without a reason.

Not a model of every row, as ``test_ledger_model`` has one, but what must hold whatever happened: the machine keeps a target as
an action would fill it, and lets workers fail, be stopped and die in between.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock
from databases import POSTGRESQL
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from postgres import emptied_server, end_leases, fewer, query

from mmmeta import File, Job
from mmmeta.jobs import keeper

NAMES = "abcd"
names = st.sampled_from(NAMES)
documents = st.sampled_from(["1", "2", None])


class OncePerMachine(RuleBasedStateMachine):
    """Four files with few documents, one job that wants one of each."""

    on_delete = "action"
    shared = False

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="mmmeta-once-"))
        self.clock = SettableClock()
        state = emptied_server() if self.shared else None
        self.archive = Archive(self.root, server_clock=self.clock, client_clock=self.clock, state=state)
        self.archive.server.layout.config.parent.mkdir(parents=True)
        self.archive.server.layout.config.write_text("metadata:\n  unique: id\n")
        self.server: dict[str, str | None] = {}
        self.merged: dict[str, str | None] = {}
        self.target: dict[str, str | None] = {}
        self.once = True
        self.lost: list[str] = []
        for name, document in (("a", "1"), ("b", "1"), ("c", "2")):
            self.publish(name, document)
        self.update()

    def teardown(self) -> None:
        try:
            self.in_the_end()
        finally:
            self.archive.close()
            shutil.rmtree(self.root)

    def in_the_end(self) -> None:
        """When all workers are gone and nothing fails any more: each document is there, and nothing of what was deleted."""
        self.update()
        self.leases_end()
        for _ in range(4):
            self.clock.forward(days=2)
            self.run(failing=set())
            self.job.retry(dead=True)  # what was in a worker's hands too often is dead when it is taken back
        assert self.job.pending() == []
        there = set(self.target.values())
        assert set(self.merged.values()) - {None} <= there
        assert {name for name, document in self.merged.items() if document is None} <= set(self.target)
        if self.on_delete == "action":
            assert set(self.target) <= set(self.merged)

    @rule(name=names, document=documents)
    def publish(self, name: str, document: str | None) -> None:
        self.archive.server.files.upsert({"id": name, "content_hash": document, "title": f"{name} {document}"}, ["id"])
        self.server[name] = document

    @rule(name=names)
    def delete(self, name: str) -> None:
        if self.server.pop(name, "nothing") != "nothing":
            self.archive.server.files.delete(id=name)

    @rule()
    def update(self) -> None:
        self.archive.sync()
        self.archive.client.update(allow_mass_delete=True)
        self.merged = dict(self.server)

    @rule(failing=st.sets(names), stop=st.none() | names)
    def run(self, failing: set[str], stop: str | None = None) -> None:
        """Some fail, and perhaps it is ended from outside."""
        with suppress(KeyboardInterrupt):
            self.job.run(self._action(failing, stop))

    @rule(count=st.integers(1, 3))
    def crash(self, count: int) -> None:
        """A worker takes files and dies; half of it may have been done."""
        one = self.job
        worker = one._bench.worker()
        worker.start()
        one.evaluate()
        one._bench.claim(count, worker.name, None)
        worker.stop(holds=True)

    @rule()
    def leases_end(self) -> None:
        end_leases(self.archive.client)

    @rule()
    def wait(self) -> None:
        self.clock.forward(days=2)

    @rule(dead=st.booleans())
    def retry(self, dead: bool) -> None:
        self.job.retry(dead=dead)

    @rule(name=names)
    def retry_one(self, name: str) -> None:
        if self.archive.client.files.find_one(id=name, deleted=None) is not None:
            self.job.retry(files=name)

    @rule()
    def define(self) -> None:
        """The rule goes, or comes back."""
        self.once = not self.once

    @rule()
    def plan(self) -> None:
        """It says what a run would find."""
        plan = self.job.plan()
        assert plan.files == len(self.job.pending())

    @invariant()
    def one_of_each(self) -> None:
        """What waits is one file a document, and who is set aside has somebody in its place; the counts are right."""
        client = self.archive.client
        asked = query(client, "SELECT rules LIKE '%once_per%' FROM jobs")
        rows = query(
            client,
            "SELECT file, status, once, error_type, once_basis, deleted, meant, basis IS NOT NULL AND asked = token "
            "FROM ledger WHERE NOT retract",
        )
        counts = dict(query(client, "SELECT status, sum(files) FROM ledger_counts GROUP BY 1 HAVING sum(files) > 0"))
        real = dict(query(client, "SELECT status, count(*) FROM ledger GROUP BY 1"))
        assert counts == real
        assert self.lost == []
        if not asked or not asked[0][0]:
            return
        for once in {row[2] for row in rows if row[2] is not None}:
            group = [row for row in rows if row[2] == once]
            waiting = [row[0] for row in group if row[1] in ("pending", "failed") and not row[5] and not row[7]]
            done = [row[0] for row in group if row[1] == "done" and row[4] == once and not row[5]]
            aside = [
                row[0] for row in group if row[3] == "SameDocument" and row[1] == "skipped" and not row[5] and row[6]
            ]
            assert len(waiting) <= 1
            assert not (waiting and done)
            if aside:
                assert any(row[1] in ("done", "claimed", "pending", "failed") for row in group)

    @property
    def job(self) -> Job:
        rules: dict[str, Any] = {"once_per": "content_hash"} if self.once else {}
        return self.archive.client.job("j", on_delete=self.on_delete, attempts=2, **rules)

    def _action(self, failing: set[str], stop: str | None) -> Callable[[File], None]:
        def work(file: File) -> None:
            assert file.claim is not None
            name, document = file.unique_value, file["content_hash"]
            if name == stop:
                raise KeyboardInterrupt
            if name in failing:
                raise ValueError(f"cannot do {name}")
            if not file.claim.retract:
                self.target[name] = document
                return
            gone = self.target.pop(name, None)
            if self.once and gone is not None and gone == document and document in self.merged.values():
                with self.archive.client._backend.state.ledger.looking() as view:
                    others = [view.entry("j", other) for other, has in self.merged.items() if has == gone]
                waiting = [entry for entry in others if entry is not None and entry.status not in ("done", "skipped")]
                if gone not in self.target.values() and waiting:  # raised here it would be the file's failure
                    self.lost.append(f"{gone} is gone with {name}, and {waiting} wait")

        return work


class IgnoringMachine(OncePerMachine):
    """The same where deletions are ignored."""

    on_delete = "ignore"


@pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning", "ignore::mmmeta.errors.UnknownKeyWarning")
@pytest.mark.parametrize("where", ["sqlite", POSTGRESQL])
@pytest.mark.parametrize("machine", [OncePerMachine, IgnoringMachine])
def test_no_document_is_lost_and_none_waits_twice(
    machine: type[OncePerMachine], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through failures, deaths, deletions, changes and people; wherever the ledger is."""
    if where == "postgresql":
        monkeypatch.setattr(machine, "shared", True)
    monkeypatch.setattr(keeper, "BEAT_EVERY", 1e9)  # nobody prolongs the leases that the machine ends
    run_state_machine_as_test(machine, settings=settings(fewer(machine.shared), stateful_step_count=20))
