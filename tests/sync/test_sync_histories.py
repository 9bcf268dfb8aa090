"""Whatever is published, pushed, pulled, broken off, half copied by other tools and updated in whatever order: the clients end as
the server is, and their own values stay, over real files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mmmeta import Metadir, mmmeta
from mmmeta.errors import MmmetaError, SyncError
from mmmeta.sync import pull, push

names = st.integers(0, 20).map(str)
records = st.dictionaries(
    st.sampled_from(["a", "b", "publisher:name"]),
    st.one_of(st.none(), st.integers(-3, 3), st.text(max_size=3)),
    max_size=2,
)
clients = st.sampled_from(["of the server", "of the place"])


class _Broken(BaseException):
    """Stands for a process that ends there."""


@contextmanager
def broken_at(step: int | None) -> Iterator[None]:
    """Let the process end before the nth file gets its name."""
    replace, left = os.replace, [step]

    def count(*arguments: Any, **options: Any) -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise _Broken
        replace(*arguments, **options)

    os.replace = count  # type: ignore[assignment]
    try:
        yield
    except _Broken:
        pass
    finally:
        os.replace = replace  # type: ignore[assignment]


def content_of(metadir: Metadir) -> dict[str, str]:
    """The remote's metadata of all files, deleted ones too."""
    metadir.ignore_news()
    found = metadir.files.find(deleted=None)
    return {file.unique_value: repr((sorted(file.meta.items()), file.deleted)) for file in found}


class Histories(RuleBasedStateMachine):
    """A server, a place that it pushes to, and a client of each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mmmeta-sync-"))
        self.server_path, self.place = self.folder / "server", self.folder / "place"
        self.server_path.mkdir()
        self.server = mmmeta(self.server_path)
        self.remotes = {"of the server": self.server_path, "of the place": self.place}
        self.clients = {name: mmmeta(self.folder / name) for name in self.remotes}
        self.own: dict[str, dict[str, Any]] = {name: {} for name in self.remotes}
        self.contents: dict[str, dict[str, str] | None] = dict.fromkeys(self.remotes)

    @initialize()
    def begin(self) -> None:
        self.server.files.insert_many({"content_hash": str(number), "a": number} for number in range(15))
        self.push(None)

    @rule(changes=st.lists(st.dictionaries(names, records, min_size=1, max_size=3), min_size=1, max_size=8))
    def publish(self, changes: list[dict[str, dict[str, Any]]]) -> None:
        for change in changes:
            with self.server.bulk():
                rows = [{**record, "content_hash": name} for name, record in change.items()]
                self.server.files.upsert_many(rows, ["content_hash"])

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.server.files.delete(content_hash=name)
        self.server.close()

    @rule()
    def replace(self) -> None:
        self.server.close()
        with mmmeta(self.server_path) as server:
            rows = [dict(file.meta) for file in server.files.find(deleted=None)]
            server.generate(replace=True, allow_mass_delete=True)
            server.files.insert_many(rows)

    @rule(step=st.none() | st.integers(0, 8))
    def push(self, step: int | None) -> None:
        """Whole, or broken off."""
        self.server.close()
        with broken_at(step):
            push(self.server_path, str(self.place))

    @rule(client=clients, step=st.none() | st.integers(0, 8))
    def pull(self, client: str, step: int | None) -> None:
        """Whole, or broken off; what it leaves the next update merges as one revision, or not at all."""
        self.server.close()
        head = self.remotes[client] / "_mmmeta" / "head.json"  # a push may have been broken off before there was one
        if head.parent.exists():
            with broken_at(step), suppress(SyncError) if not head.exists() else nullcontext():
                pull(self.folder / client, str(self.remotes[client]))

    @rule(
        client=clients, picked=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 3), st.floats(0, 1)), max_size=4)
    )
    def half_copy(self, client: str, picked: list[tuple[int, int, float]]) -> None:
        """By some other tool: some of the files, some of them cut. What is drawn depends on no file, whose sizes differ."""
        metadir, target = self.remotes[client] / "_mmmeta", self.folder / client / "_mmmeta"
        files = [
            path.relative_to(metadir)
            for path in sorted(metadir.rglob("*"))
            if path.is_file() and path.relative_to(metadir).parts[0] != "local"
        ]
        for number, whole, share in picked if files else []:
            relative = files[number % len(files)]
            content = (metadir / relative).read_bytes()
            if not whole:
                content = content[: int(len(content) * share)]
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            (target / relative).write_bytes(content)

    @rule(client=clients)
    def update(self, client: str) -> None:
        before = self.contents[client]
        metadir = self.clients[client]
        try:
            metadir.update(allow_mass_delete=True)
        except MmmetaError:
            assert (content_of(metadir) if metadir.layout.state.exists() else None) == before
        else:
            self.contents[client] = content_of(metadir)

    @rule(client=clients, name=names, value=st.integers())
    def save(self, client: str, name: str, value: int) -> None:
        if self.contents[client] is None:
            return
        file = self.clients[client].files.find_one(content_hash=name, deleted=None)
        if file is not None:
            file["mine"] = value
            file.save()
            self.own[client][name] = value

    @invariant()
    def own_values_stay(self) -> None:
        for client, own in self.own.items():
            for name, value in own.items():
                file = self.clients[client].files.find_one(content_hash=name, deleted=None)
                assert file is not None
                assert file.local["mine"] == value

    def teardown(self) -> None:
        try:
            self.server.close()
            push(self.server_path, str(self.place))
            for client, remote in self.remotes.items():
                pull(self.folder / client, str(remote))
                again = pull(self.folder / client, str(remote))
                assert (again.is_new, again.files) == (False, 0)
                metadir = self.clients[client]
                metadir.update(allow_mass_delete=True)
                found, wanted = content_of(metadir), content_of(self.server)
                assert {name: content for name, content in found.items() if name in wanted} == wanted
                assert not (self.folder / client / "_mmmeta" / ".pull").exists()
            self.own_values_stay()
        finally:
            for metadir in (self.server, *self.clients.values()):
                metadir.close()
            shutil.rmtree(self.folder)


Histories.TestCase.settings = settings(
    max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning")(Histories.TestCase)
