"""The store: typed values in text files that sync tools, people and other time zones meet."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from archives import everything

from mmmeta import Metadir
from mmmeta.errors import LegacyMetadirError, MmmetaError, StoreAccessError, StoreKeyError, StoreValueError
from mmmeta.layout import Layout
from mmmeta.store.store import Store

UTC = timezone.utc
BERLIN_ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path)


@pytest.fixture
def store(layout: Layout) -> Store:
    return Store(layout)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time as in Berlin, given by its rule, so that no time zone database is needed."""
    monkeypatch.setenv("TZ", BERLIN_ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def put(layout: Layout, key: str, content: bytes) -> Path:
    """A file as a sync tool or a person leaves it."""
    path = layout.store / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


BAD_KEYS = [
    "",
    "/",
    "a/b",
    "..",
    "../a",
    "/etc/passwd",
    "a\\b",
    "a\0",
    "\0",
    ".hidden",
    "a ",
    " a",
    "a.",
    "a\nb",
    "\x7f",
]


@pytest.mark.parametrize("key", [*BAD_KEYS, "x" * 201, "ü" * 101, "\ud800", 5, None], ids=repr)
def test_a_key_that_cannot_be_a_file_name_is_refused(store: Store, layout: Layout, key: Any) -> None:
    """By every way in, and nothing is made on disk."""
    with pytest.raises(StoreKeyError, match="cannot be a store key"):
        store[key] = 1
    with pytest.raises(StoreKeyError):
        store[key]
    with pytest.raises(StoreKeyError):
        store.raw(key)
    with pytest.raises(StoreKeyError):
        store.touch(key)
    with pytest.raises(StoreKeyError):
        del store[key]
    assert key not in store
    assert not layout.metadir.exists()


@pytest.mark.parametrize(
    "key", ["a", "x" * 200, "a.b", "a..b", "schlüssel", "a b", "publisher:id", "local_", "~", "-rf"]
)
def test_other_keys_work(store: Store, key: str) -> None:
    """A key is a file's name, so most texts do."""
    store[key] = 1
    assert [key] == list(store)


def test_what_is_not_there(store: Store, layout: Layout) -> None:
    """None, or the earliest time for a timestamp; reading creates nothing."""
    assert store["nothing"] is None
    assert store.get("nothing", 5) == 5
    assert store.raw("nothing") is None
    assert store.moment("nothing") is None
    assert store["remote_last_updated"] == datetime.min
    assert store["local_last_updated"] == datetime.min
    assert store.get("x_last_updated", None) is None
    assert "nothing" not in store
    assert list(store) == []
    assert len(store) == 0
    assert not layout.metadir.exists()


def test_the_comparison_of_the_manual_is_right_on_the_first_day(store: Store) -> None:
    """remote > local, before and after the merge."""
    assert not store["remote_last_updated"] > store["local_last_updated"]
    store.touch("remote_last_updated")
    assert store["remote_last_updated"] > store["local_last_updated"]
    store["local_last_updated"] = store["remote_last_updated"]
    assert not store["remote_last_updated"] > store["local_last_updated"]


def test_never_set_can_be_copied(store: Store) -> None:
    """An update of a metadir whose remote was never touched copies datetime.min."""
    store["local_last_updated"] = store["remote_last_updated"]
    assert store["local_last_updated"] == datetime.min


@pytest.mark.parametrize("content", [b"", b"2024-05-0", b"\xff", b"2024-05-01T1"])
def test_a_half_written_timestamp_compares_like_one_that_was_never_set(
    layout: Layout, store: Store, content: bytes
) -> None:
    """Instead of a TypeError in the middle of a comparison."""
    put(layout, "remote_last_updated", content)
    assert store["remote_last_updated"] == datetime.min
    assert store.moment("remote_last_updated") is None


def test_local_keys_lie_where_nothing_is_synced(store: Store, layout: Layout) -> None:
    """One store over two folders; a synced file cannot pose as a local key."""
    store["shared"] = 1
    store["local_own"] = 2
    assert (layout.store / "shared").read_text() == "1"
    assert (layout.local_store / "local_own").read_text() == "2"
    put(layout, "local_forged", b"3")
    (layout.local_store / "not_local").write_text("4")
    assert list(store) == ["local_own", "shared"]
    assert dict(store.items()) == {"local_own": 2, "shared": 1}
    assert store["local_forged"] is None


def test_iteration_passes_over_what_is_no_value(layout: Layout, store: Store, tmp_path: Path) -> None:
    """Temporary files, folders, links and pipes that a sync brought; garbage is a value and crashes nothing."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    put(layout, "good", b"1")
    put(layout, "garbage", b"\xff\x00\x1b")
    put(layout, ".good.tmp", b"2")
    put(layout, "good.", b"2")
    (layout.store / "folder").mkdir()
    (layout.store / "link").symlink_to(secret)
    os.mkfifo(layout.store / "pipe")
    assert list(store) == ["garbage", "good"]
    assert len(store) == 2
    assert dict(store) == {"good": 1, "garbage": "\ufffd\x00\x1b"}
    for key in ("folder", "link", "pipe"):
        assert key not in store
        assert store[key] is None
        assert store.raw(key) is None


def test_writing_over_a_link_replaces_the_link(layout: Layout, store: Store, tmp_path: Path) -> None:
    """What a sync brought cannot make a write land elsewhere."""
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    put(layout, "x", b"")
    (layout.store / "x").unlink()
    (layout.store / "x").symlink_to(outside)
    store["x"] = 5
    assert outside.read_text() == "untouched"
    assert store["x"] == 5


def test_deleting(store: Store) -> None:
    """As from a dict; a missing key names the near misses."""
    store["colour"] = 1
    with pytest.raises(StoreKeyError, match="'colour'"):
        del store["color"]
    with pytest.raises(KeyError):
        store.pop("color")
    assert store.pop("color", 7) == 7
    assert store.pop("colour") == 1
    assert store.setdefault("new", 3) == 3
    assert store.setdefault("new", 4) == 3
    store.update({"a": 1, "b": "2"})
    store.clear()
    assert len(store) == 0


def test_touch_gives_what_reads_back(layout: Layout) -> None:
    """Now by the clock that was handed in, or the time given; with its UTC offset on disk."""
    moment = datetime(2024, 5, 1, 10, 30, 0, 123, tzinfo=UTC)
    store = Store(layout, clock=lambda: moment)
    assert moment.astimezone().replace(tzinfo=None) == store.touch("a") == store["a"]
    assert store.raw("a") == "2024-05-01T10:30:00.000123+00:00"
    assert moment == store.moment("a")
    naive = datetime(2020, 1, 1, 12)
    assert naive == store.touch("a", naive) == store["a"]


def test_touch_forward_only_ever_grows(layout: Layout) -> None:
    """Also when the clock stands still or goes back."""
    now = [datetime(2024, 5, 1, 10, tzinfo=UTC)]
    store = Store(layout, clock=lambda: now[0])
    first = store.touch("x", forward=True)
    assert first + timedelta(microseconds=1) == store.touch("x", forward=True)
    now[0] -= timedelta(days=300)
    assert first + timedelta(microseconds=2) == store.touch("x", forward=True)
    now[0] += timedelta(days=600)
    assert now[0].astimezone().replace(tzinfo=None) == store.touch("x", forward=True)
    put(layout, "x", b"garbage")
    assert now[0].astimezone().replace(tzinfo=None) == store.touch("x", forward=True)


@pytest.mark.parametrize("zone", ["UTC", "XXX-14", "XXX12"])
@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59-12:00"]
)
def test_touch_forward_at_the_end_of_time(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, zone: str, text: str
) -> None:
    """After the last moment that there is comes the present one: it differs, and so it is news."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        store = Store(layout, clock=lambda: datetime(2024, 5, 1, 10, tzinfo=UTC))
        put(layout, "x_last_updated", text.encode())
        store.touch("x_last_updated", forward=True)
        assert store.raw("x_last_updated") != text
        for end in (datetime.max, datetime.min, datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
            store.touch("x", end)
            store.touch("x", end, forward=True)
            store.touch("x", forward=True)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_comes_twice_keeps_its_moment(store: Store) -> None:
    """At the end of summer time, 02:30 is two moments: ``fold`` tells them apart on the way back, too."""
    early, late = datetime(2024, 10, 27, 2, 30), datetime(2024, 10, 27, 2, 30, fold=1)
    store["early"], store["late"] = early, late
    assert store.raw("early") == "2024-10-27T00:30:00.000000+00:00"
    assert store.raw("late") == "2024-10-27T01:30:00.000000+00:00"
    assert (store["early"].fold, store["late"].fold) == (0, 1)
    store["copy"] = store["late"]
    assert store.moment("late") == store.moment("copy") == datetime(2024, 10, 27, 1, 30, tzinfo=UTC)
    # In naive local time the late one is not later; forward goes by the moment.
    store.touch("early", datetime(2024, 10, 27, 1, 30, tzinfo=UTC), forward=True)
    assert store.moment("early") == datetime(2024, 10, 27, 1, 30, tzinfo=UTC)


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_is_skipped_reads_back_as_it_was_written(store: Store) -> None:
    """No moment has that local time, so it is kept without an offset."""
    skipped = datetime(2024, 3, 31, 2, 30)
    store["x"] = skipped
    assert store.raw("x") == "2024-03-31T02:30:00"
    assert skipped == store["x"]


def test_a_timestamp_is_the_same_moment_in_another_time_zone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in Berlin, read in Tokyo: nine hours ahead of UTC instead of two."""
    try:
        monkeypatch.setenv("TZ", BERLIN_ZONE)
        time.tzset()
        Store(layout)["x"] = datetime(2024, 7, 1, 12)
        monkeypatch.setenv("TZ", "JST-9")
        time.tzset()
        assert Store(layout)["x"] == datetime(2024, 7, 1, 19)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_writing_is_atomic_and_leaves_nothing_else(layout: Layout, store: Store) -> None:
    """One file a key, even after many writes."""
    for number in range(20):
        store["x"] = number
    assert os.listdir(layout.store) == ["x"]


KILLED = """
import os, signal, sys
from mmmeta import Metadir
store = Metadir(sys.argv[1]).store
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
store[sys.argv[2]] = "killed"
"""


@pytest.mark.parametrize("key", ["x", "local_x"])
def test_a_killed_write_leaves_nothing_that_is_synced(layout: Layout, store: Store, key: str) -> None:
    """And one file at most, which the next write takes over."""
    store[key] = "before"
    for _ in range(3):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(layout.base), key])
        assert killed.returncode == -9
    left = [path for path in layout.base.rglob("*.tmp") if path.is_file()]
    assert len(left) == 1
    assert layout.local in left[0].parents
    assert store[key] == "before"
    store[key] = "after"
    assert store[key] == "after"
    assert not left[0].exists()


def test_what_is_written_at_the_same_time_is_whole(layout: Layout, store: Store) -> None:
    """Whoever finds the temporary file in use takes another."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.__setitem__("x", str(number) * 10_000), range(200)))
    assert len(set(store["x"])) <= 3
    assert [path.name for path in layout.metadir.rglob("*") if path.is_file()] == ["x"]


def test_where_the_local_folder_is_on_another_disk(
    layout: Layout, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or may not be written: the temporary file lies beside the value then."""
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if source.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    store["x"] = 1
    assert store["x"] == 1
    assert [path.name for path in layout.metadir.rglob("*") if path.is_file()] == ["x"]


def test_what_the_file_system_refuses_is_an_error_of_mmmeta(layout: Layout, store: Store) -> None:
    """A file in the place of the folder, a folder in the place of the file."""
    layout.metadir.mkdir()
    layout.store.write_text("not a folder")
    assert list(store) == []
    assert store["x"] is None
    with pytest.raises(StoreAccessError, match="cannot be written"):
        store["x"] = 1
    layout.store.unlink()
    (layout.store / "x").mkdir(parents=True)
    with pytest.raises(StoreAccessError, match="cannot be written"):
        store["x"] = 1


def test_errors_are_errors_of_mmmeta_and_of_python() -> None:
    """So that ``except KeyError`` and ``except MmmetaError`` both work."""
    assert issubclass(StoreKeyError, KeyError)
    assert issubclass(StoreKeyError, MmmetaError)
    assert issubclass(StoreValueError, ValueError)


def test_store_status_and_remote_do_not_load_pydantic() -> None:
    """They are on the sensor's path, which has to be light."""
    code = "import sys, mmmeta.store.store, mmmeta.state.status, mmmeta.documents.rendering; print('pydantic' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


@pytest.mark.parametrize("old", ["db/", "state.db"])
def test_a_metadir_of_an_old_version_is_not_written_into(tmp_path: Path, old: str) -> None:
    """It is read, recognised, and left as it is."""
    metadir = tmp_path / "_mmmeta"
    (metadir / "_store").mkdir(parents=True)
    (metadir / "_store" / "kept").write_text("1")
    if old.endswith("/"):
        (metadir / old).mkdir()
    else:
        (metadir / old).write_bytes(b"SQLite format 3\0")
    before = everything(tmp_path)
    with Metadir(tmp_path) as old_one:
        for write in (
            lambda: old_one.touch("x_last_updated"),
            lambda: old_one.store.update(x=1),
            lambda: old_one.store.update(local_x=1),
            lambda: old_one.store.pop("kept"),
        ):
            with pytest.raises(LegacyMetadirError, match=r"0\.1-0\.4"):
                write()
        assert old_one.store["kept"] == 1
        inspection = old_one.inspect()
    assert inspection.is_legacy
    assert "0.1-0.4" in inspection.problems[0]
    assert everything(tmp_path) == before
