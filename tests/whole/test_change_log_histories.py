"""Whatever is published, merged, half synced and updated in whatever order: the client ends as the server is, over real files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from archives import LOG, copy_metadir
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mmmeta import Metadir, mmmeta
from mmmeta.errors import MmmetaError

names = st.integers(0, 30).map(str)
values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "1", "x", 2**70, 1.5, [1], {}]))
keys = st.sampled_from(["a", "b", "publisher:name", "A", "c-d"])
records = st.dictionaries(keys, values, max_size=3)

WAYS = {"by the log": ("meta.db",), "by meta.db": LOG, "by both": ()}


def content_of(metadir: Metadir) -> dict[str, str]:
    """The remote's metadata of all files, deleted ones too, with the types of its values."""
    metadir.ignore_news()
    return {
        file.unique_value: repr((sorted(file.meta.items()), file.deleted, file.fingerprint))
        for file in metadir.files.find(deleted=None)
    }


class Histories(RuleBasedStateMachine):
    """One server, and a client for each way of syncing."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mmmeta-histories-"))
        self.server_path = self.folder / "server"
        self.server_path.mkdir()
        self.server = mmmeta(self.server_path)
        self.clients = {way: mmmeta(self.folder / way) for way in WAYS}
        self.own: dict[str, dict[str, Any]] = {way: {} for way in WAYS}
        self.contents: dict[str, dict[str, str] | None] = dict.fromkeys(WAYS)

    @initialize()
    def begin(self) -> None:
        self.server.files.insert_many({"content_hash": str(number), "a": number} for number in range(25))

    @rule(changes=st.dictionaries(names, records, min_size=1, max_size=4))
    def publish(self, changes: dict[str, dict[str, Any]]) -> None:
        with self.server.bulk():
            self.server.files.upsert_many(
                [{**record, "content_hash": name} for name, record in changes.items()], ["content_hash"]
            )

    @rule(changes=st.lists(st.tuples(names, records), min_size=3, max_size=14))
    def publish_often(self, changes: list[tuple[str, dict[str, Any]]]) -> None:
        """Enough for segments to be merged."""
        for name, record in changes:
            with self.server.bulk():
                self.server.files.upsert({**record, "content_hash": name}, ["content_hash"])

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.server.files.delete(content_hash=name)
        self.server.close()

    @rule()
    def replace(self) -> None:
        """Nothing is left of the old metadata db, but that its files count as known."""
        self.server.close()
        with mmmeta(self.server_path) as server:
            rows = [dict(file.meta) for file in server.files.find(deleted=None)]
            server.generate(replace=True, allow_mass_delete=True)
            server.files.insert_many(rows)

    @rule(
        way=st.sampled_from(list(WAYS)),
        picked=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5), st.floats(0, 1)), max_size=12),
    )
    def partial_sync(self, way: str, picked: list[tuple[int, int, float]]) -> None:
        """Some of the files, some of them cut; what is gone at the server may stay. What is drawn depends on no file, whose
        sizes differ from one time to the next."""
        metadir = self.server_path / "_mmmeta"
        target = self.folder / way / "_mmmeta"
        left_out = {"local", *WAYS[way]}
        files = [
            path.relative_to(metadir)
            for path in sorted(metadir.rglob("*"))
            if path.is_file() and path.relative_to(metadir).parts[0] not in left_out
        ]
        for number, whole, share in picked:
            relative = files[number % len(files)]
            content = (metadir / relative).read_bytes()
            if not whole:
                content = content[: int(len(content) * share)]
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            (target / relative).write_bytes(content)

    @rule(way=st.sampled_from(list(WAYS)))
    def update(self, way: str) -> None:
        """Merges a whole publication, or changes nothing."""
        client = self.clients[way]
        before = self.contents[way]
        try:
            client.update()
        except MmmetaError:
            assert (content_of(client) if client.layout.state.exists() else None) == before
        else:
            self.contents[way] = content_of(client)

    @rule(way=st.sampled_from(list(WAYS)), name=names, value=values)
    def save(self, way: str, name: str, value: Any) -> None:
        if self.contents[way] is None:
            return
        file = self.clients[way].files.find_one(content_hash=name, deleted=None)
        if file is not None:
            file["mine"] = value
            file.save()
            self.own[way][name] = file["mine"]

    @rule(way=st.sampled_from(list(WAYS)))
    def sync_and_update(self, way: str) -> None:
        self.server.close()
        target = self.folder / way
        copy_metadir(self.server_path, target, without=WAYS[way])
        client = self.clients[way]
        client.update(allow_mass_delete=True)
        found = self.contents[way] = content_of(client)
        wanted = content_of(self.server)
        assert {name: content for name, content in found.items() if name in wanted} == wanted
        for name in found.keys() - wanted.keys():
            file = client.files.find_one(content_hash=name, deleted=None)
            assert file is not None
            assert file.deleted

    @invariant()
    def local_state_is_untouched(self) -> None:
        for way, own in self.own.items():
            for name, value in own.items():
                file = self.clients[way].files.find_one(content_hash=name, deleted=None)
                assert file is not None
                assert repr(file.local["mine"]) == repr(value)

    def teardown(self) -> None:
        try:
            for way in WAYS:
                self.sync_and_update(way)
        finally:
            for metadir in (self.server, *self.clients.values()):
                metadir.close()
            shutil.rmtree(self.folder)


Histories.TestCase.settings = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning")(Histories.TestCase)
