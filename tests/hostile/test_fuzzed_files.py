"""Any bytes in the place of any file of a metadir: what is read is sound, or one clear error says what is wrong with it.

``make test-long`` tries more of them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, copy_metadir
from fuzzing import SHARP, mutated, one_clear_error_in_time
from hypothesis import example, given
from hypothesis import strategies as st
from metadirs import OWN, client_with_own, own_values

from mmmeta import Metadir
from mmmeta.errors import MmmetaError
from mmmeta.store.remote import read_publication

pytestmark = [
    pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning"),
    pytest.mark.filterwarnings("ignore::mmmeta.errors.UnknownKeyWarning"),
]


@contextmanager
def archives() -> Iterator[Archive]:
    """A fresh archive for one example, in memory where possible."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        archive = Archive(Path(folder))
        try:
            yield archive
        finally:
            archive.close()


RECORD: dict[str, Any] = {
    "content_hash": "odd",
    "title": "Straße \u202e\u2028",
    "pages": 2**70,
    "share": 1.5e300,
    "open": True,
    "none": None,
    "tags": ["a", {"b": [1, None]}],
    "source": {"name": "x", "empty": {}, "a:b": ""},
    "_file_name": "a.pdf",
}
METADATA_FILES = [
    json.dumps(RECORD).encode(),
    json.dumps([RECORD, {"content_hash": "second"}], indent=1).encode(),
    json.dumps(RECORD, ensure_ascii=False).encode("utf-16"),
    b'{"content_hash": "odd", "x": "\\ud800", "y": -0.0, "z": 1e-400, "x": 3}',
    b'{"content_hash": "odd", "n": NaN, "i": -Infinity}',
]


@given(mutated(*METADATA_FILES))
def test_any_metadata_file_is_read_whole_or_set_aside(content: bytes) -> None:
    """It is named where it is not read; the one beside it is read in any case, and what is read comes to the client,
    where each of its values finds it."""
    with archives() as archive:
        archive.write("good", title="good")
        archive.write("odd", content)
        with one_clear_error_in_time():
            report = archive.publish()
            assert report.problem_count <= 1
            assert all("odd.json" in str(problem) and len(str(problem)) < 2_000 for problem in report.problems)
            archive.client.update()
        found = {file.unique_value: dict(file.meta) for file in archive.client.files}
        assert found["good"]["title"] == "good"
        assert len(found) == 1 or report.problem_count == 0
        for unique_value, values in found.items():
            for key, value in values.items():
                if isinstance(value, (str, bool)) or value is None:
                    assert unique_value in {file.unique_value for file in archive.client.files.find({key: value})}


CONDITIONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["=", ">", "<=", "like", "in", "between", "startswith", "ago", "$any", "$not", "title", "x"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A client with one file that has values of every type, some of them its own."""
    archive = Archive(tmp_path_factory.mktemp("filled"))
    client_with_own(archive)
    yield archive
    archive.close()


@given(
    st.dictionaries(
        st.sampled_from(["title", "pages", "size", "tags", "more:x", "$any", "$not", "note", "?"]), CONDITIONS
    )
)
def test_any_filter_is_understood_or_refused(filled: Archive, condition: dict[str, Any]) -> None:
    """Whatever is compared with what."""
    with one_clear_error_in_time():
        list(filled.client.files.find(condition))


KEYS = [
    "remote_last_updated",
    "remote_revision",
    "meta_last_updated",
    "local_last_updated",
    "word",
    "seen_last_updated",
]
STORE_TEXTS = [
    b"2026-03-01T12:00:00.000001+00:00",
    b"9999-12-31T23:59:59.999999-23:59",
    b"0001-01-01T00:00:00+23:59",
    b"17",
    b"-0.5e308",
    b'"quoted \\ud800"',
    b"9" * 700,
    b"text",
]


@given(st.sampled_from(KEYS), mutated(*STORE_TEXTS))
@example("remote_last_updated", b"9999-12-31T23:59:59.999999+00:00")
def test_any_text_in_the_store_is_a_value(filled: Archive, key: str, content: bytes) -> None:
    """Read by key, as a moment, by whoever looks at a remote from afar, and by an update."""
    store = filled.client.layout.store
    before = {path: path.read_bytes() for path in store.iterdir()}
    try:
        (store / key).write_bytes(content)
        value = filled.client.store[key]
        assert isinstance(value, (int, float, str, type(filled.client.store["never_last_updated"])))
        filled.client.store.moment(key)
        for verb in (
            filled.client.update,
            lambda: filled.client.is_outdated,
            filled.client.inspect,
            lambda: read_publication(filled.client_path),
            lambda: filled.client.touch("word_last_updated"),
        ):
            with one_clear_error_in_time():
                verb()
        assert own_values(filled.client_path).keys() == {"f0", "f1", "f2"}
    finally:
        for path in store.iterdir():
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)


CONFIG = b"""
metadata:
  unique: id
  content: content_hash
  include: [title, "pages", source:*]
  exclude: [noise]
remote:
  url: "https://example.org/{_file_name}"
"""


@given(
    mutated(CONFIG, sharp=[*SHARP, b"!!int ", b"&a ", b"*a", b"? ", b"<<: ", b"'", b"|\n", b"- ", b": ", b"{", b"%"])
)
def test_any_config_is_read_or_refused(filled: Archive, content: bytes) -> None:
    """By every verb of a server and a client; the client's own values stay."""
    config = filled.client.layout.config
    own = own_values(filled.client_path)
    try:
        config.write_bytes(content)
        with Metadir(filled.client_path) as client:
            for verb in (client.update, client.inspect, lambda: [file.remote.url for file in client.files]):
                with one_clear_error_in_time():
                    client.ignore_news()
                    verb()
    finally:
        config.unlink()
    assert own_values(filled.client_path) == own


@pytest.fixture(scope="module")
def news(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archive, bytes]]:
    """A client that has merged and set values, and the metadata db that is published next."""
    archive = Archive(tmp_path_factory.mktemp("news"))
    client_with_own(archive)
    for number in range(3):
        archive.write(f"f{number}", title="changed", more={"y": number})
    archive.publish()
    yield archive, archive.client.layout.meta_db.read_bytes()
    archive.close()


CHANGES = st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=8)), min_size=1, max_size=5)


@given(CHANGES, st.booleans(), st.booleans())
def test_any_bytes_in_the_metadata_db_are_no_news(
    news: tuple[Archive, bytes], changes: list[tuple[int, bytes]], first: bool, early: bool
) -> None:
    """At a first update and at a later one: what comes in is what was published, or nothing."""
    archive, sound = news
    broken = bytearray(sound)
    for at, new in changes:
        at %= 200 if early else len(sound)  # what says how all the rest is to be read
        broken[at : at + len(new)] = new
    with archives() as copy:
        copy_metadir(archive.client_path, copy.client_path)
        if not first:
            (copy.client_path / "_mmmeta" / "local").mkdir()
            for path in archive.client.layout.local.iterdir():
                if path.is_file():
                    (copy.client_path / "_mmmeta" / "local" / path.name).write_bytes(path.read_bytes())
        copy.client.layout.meta_db.write_bytes(broken[: len(sound)])
        merged = False
        with one_clear_error_in_time():
            copy.client.update()
            merged = True
        titles = []
        try:
            copy.client.ignore_news()
            titles = [file["title"] for file in copy.client.files]
        except MmmetaError:
            assert first
            assert not merged
        assert titles == (["changed"] * 3 if merged else titles if first else ["File 0", "File 1", "File 2"])
        if not first:
            assert own_values(copy.client_path).keys() == {"f0", "f1", "f2"}
            assert all(f"('{key}'" in value for key in OWN for value in own_values(copy.client_path).values())
