"""What a job promises about each file, in plain Python: the ledger without SQL, processes and clocks.

Meant to be read. ``test_ledger_model`` does the same things to it and to real databases, and finds no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ATTEMPTS = 2
"""Tries before a file is dead."""


class Version(NamedTuple):
    """A file as the client has merged it."""

    content: str
    title: str
    kind: str
    deleted: bool = False


class Rules(NamedTuple):
    """A job's definition: of which kind the files are, what makes a done one due again, what is done when one goes."""

    kind: str | None = None
    rerun_on: str | tuple[str, ...] = "content"
    on_delete: str = "ignore"

    def means(self, version: Version) -> bool:
        return not version.deleted and self.kind in (None, version.kind)

    def basis(self, version: Version) -> tuple[object, ...]:
        """What has to change for a file to come again; never the same under another ``rerun_on``."""
        values = {
            "content": [version.content],
            "metadata": [version.content, version.title, version.kind],
            "never": [],
            ("title",): [version.title],
        }
        return (self.rerun_on, *values[self.rerun_on])


Basis = tuple[object, ...] | None


@dataclass
class Entry:
    """What the ledger says of one file.

    Attributes:
        undo: what is asked for is to undo what was done, for the file was deleted.
        done: what it was last done with; None if never, or if it was undone.
        tried: what it was last claimed with.
        due: whether a failed file has waited long enough.
        holder: of a claimed file: the worker that has it.
        gone: whether that worker died, or its lease ended.
        dismissed: set aside by a person, in the version that it was tried in.
        suspect: whether a worker was lost over it, which nothing has been said of it since: it comes alone, and last.
    """

    status: str = "pending"
    undo: bool = False
    attempts: int = 0
    done: Basis = None
    tried: Basis = None
    due: bool = False
    holder: str | None = None
    gone: bool = False
    dismissed: bool = False
    suspect: bool = False

    @property
    def waits(self) -> bool:
        return self.status in ("pending", "failed", "dead")

    def again(self) -> None:
        """All attempts are before it."""
        self.status, self.attempts, self.due, self.dismissed = "pending", 0, False, False

    def set_aside(self) -> None:
        self.status, self.suspect = "skipped", False


@dataclass
class Model:
    """One job's ledger.

    Attributes:
        rules: those that it was evaluated with last; None before the first time.
    """

    files: dict[str, Version] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    rules: Rules | None = None

    def evaluate(self, rules: Rules) -> None:
        """What every verb of a job does first: look at the files, and at a definition that was changed."""
        before, self.rules = self.rules, rules
        if before is not None and before.rerun_on != rules.rerun_on:
            self._select(before)  # what changed under the old rule is not forgotten
            for name, entry in self.entries.items():
                still = entry.dismissed and entry.tried == before.basis(self.files[name])
                # tried as it is now, so that nothing comes again
                if still or entry.status in ("done", "failed", "dead"):
                    entry.tried = rules.basis(self.files[name])
                if entry.status == "done":
                    entry.done = entry.tried
        self.look()
        if before is not None and before.kind != rules.kind:
            for name, entry in self.entries.items():
                if entry.waits and not entry.undo and not rules.means(self.files[name]):
                    entry.set_aside()

    def look(self, names: list[str] | None = None) -> None:
        """Compare what is not in anybody's hands with the files as they are: all, or some that were let go."""
        assert self.rules is not None
        looked = [(name, entry) for name, entry in self.entries.items() if names is None or name in names]
        for name, entry in looked:
            back = not self.files[name].deleted or self.rules.on_delete == "ignore"
            if entry.undo and entry.status != "claimed" and back:  # there is nothing to undo any more
                entry.undo, entry.status = False, "done" if entry.done else "skipped"
        self._select(self.rules, names)
        for name, entry in list(self.entries.items()) if names is None else looked:
            if entry.status == "claimed" or entry.undo or not self.files[name].deleted:
                continue
            if entry.done is not None and self.rules.on_delete == "action":
                entry.undo, entry.suspect = True, False
                entry.again()
            elif entry.waits:
                entry.set_aside()

    def _select(self, rules: Rules, names: list[str] | None = None) -> None:
        for name, version in self.files.items():
            if not rules.means(version) or (names is not None and name not in names):
                continue
            entry, basis = self.entries.setdefault(name, Entry()), rules.basis(version)
            if entry.status == "claimed":
                continue  # it is looked at again when it is settled
            if entry.dismissed and entry.tried == basis:
                continue
            if entry.status in ("done", "skipped"):
                entry.suspect = entry.suspect and entry.status == "done"
                entry.status, entry.dismissed = "done", False
                if entry.done != basis:
                    entry.again()
            elif entry.attempts and entry.tried != basis and not entry.undo:
                entry.again()  # a version that never failed

    def due(self) -> list[str]:
        """What could be claimed now, in order."""
        names = [
            name
            for name, entry in self.entries.items()
            if entry.status == "pending" or (entry.status == "failed" and entry.due)
        ]
        return sorted(names, key=lambda name: (self.entries[name].suspect, name))

    def take_back(self) -> None:
        """What has waited, and what workers that are gone had: a file that this happens to too often is dead.

        Of several in the hands of one nobody knows which it was, and it does not count.
        """
        gone = [name for name, entry in self.entries.items() if entry.gone]
        together = [self.entries[name].holder for name in gone]
        for entry in self.entries.values():
            if entry.status == "failed" and entry.due:
                entry.status, entry.due = "pending", False
            if entry.gone:
                alone = together.count(entry.holder) == 1
                entry.status = "dead" if alone and entry.attempts >= ATTEMPTS else "pending"
                entry.attempts -= not alone
                entry.holder, entry.gone, entry.suspect = None, False, True
                if entry.undo:
                    entry.done = None  # undone by half, perhaps
        self.look(gone)

    def claim(self, name: str, holder: str) -> None:
        assert self.rules is not None
        entry = self.entries[name]
        assert name in self.due()
        entry.status, entry.holder, entry.tried = "claimed", holder, self.rules.basis(self.files[name])
        entry.attempts += 1

    def release(self, name: str) -> None:
        entry = self.entries[name]
        entry.status, entry.holder, entry.gone = "pending", None, False
        entry.attempts -= 1
        self.look([name])

    def break_off(self, name: str) -> None:
        """Its worker was ended from outside while it was at this file: twice in a row, and it counts."""
        entry = self.entries[name]
        entry.status = "dead" if entry.suspect and entry.attempts >= ATTEMPTS else "pending"
        entry.attempts -= not entry.suspect
        entry.holder, entry.gone, entry.suspect = None, False, True
        if entry.undo:
            entry.done = None  # undone by half, perhaps
        self.look([name])

    def settle(self, name: str, ok: bool) -> None:
        """A claimed file was done (or undone), or was not."""
        entry = self.entries[name]
        entry.holder, entry.gone, entry.due, entry.suspect = None, False, False, False
        if ok:
            entry.status, entry.undo, entry.done = (
                ("skipped", False, None) if entry.undo else ("done", False, entry.tried)
            )
        else:
            entry.status = "dead" if entry.attempts >= ATTEMPTS else "failed"
            if entry.undo:
                entry.done = None  # undone by half, perhaps
        self.look([name])

    def retry(self, names: list[str], statuses: tuple[str, ...]) -> int:
        known = [
            name
            for name in names
            if name in self.entries
            and (self.entries[name].status in statuses or (self.entries[name].dismissed and "done" in statuses))
        ]
        found = [name for name in known if self.entries[name].waits or not self.files[name].deleted]
        for name in found:
            self.entries[name].again()
        return len(found)

    def dismiss(self, names: list[str]) -> int:
        found = [name for name in names if name in self.entries and self.entries[name].status == "dead"]
        for name in found:
            entry = self.entries[name]
            entry.set_aside()
            entry.dismissed = True
            if entry.undo:  # if it comes back, it is to be done anew
                entry.undo, entry.tried = False, None
        return len(found)

    def adopt(self, names: list[str]) -> int:
        assert self.rules is not None
        found = [name for name in names if name in self.entries and self.entries[name].waits]
        found = [name for name in found if not self.entries[name].undo]
        for name in found:
            entry = self.entries[name]
            entry.again()
            entry.status, entry.done, entry.suspect = "done", self.rules.basis(self.files[name]), False
        return len(found)

    def counts(self) -> dict[str, int]:
        statuses = [entry.status for entry in self.entries.values()]
        return {status: statuses.count(status) for status in set(statuses)}
