"""find() while something else goes on: warnings at the line that asks, loops that save, updates and threads beside."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from archives import fill

from mmmeta import Metadir, mmmeta
from mmmeta.errors import OutdatedWarning, UnknownKeyWarning

HERE = Path(__file__).name

# Warnings


def test_an_unknown_key_warns_at_the_line_that_asks(metadir: Metadir) -> None:
    """With the near misses, from whichever method; a known key of the client's does not."""
    fill(metadir, {"content_hash": "a", "imported_by": "x"})
    files = metadir.files
    asked = [
        lambda: list(files.find(imported_bye=False)),
        lambda: list(files(imported_bye=False)),
        lambda: files.find_one(imported_bye=False),
        lambda: list(files.all(imported_bye=False)),
        lambda: files.count(imported_bye=False),
        lambda: list(files.distinct("content_hash", imported_bye=False)),
        lambda: list(files.distinct("imported_bye")),
        lambda: list(files.find(order_by="-imported_bye")),
    ]
    for ask in asked:
        with pytest.warns(UnknownKeyWarning, match="'imported_by'") as caught:
            ask()
        assert [Path(warning.filename).name for warning in caught] == [HERE]
        assert caught[0].lineno == ask.__code__.co_firstlineno


def test_outdated_warns_once_at_the_line_that_asks(archive: Any) -> None:
    """Reading a state db whose metadata db has gone on."""
    archive.write("a")
    archive.deliver()
    archive.write("b")
    archive.publish()
    with pytest.warns(OutdatedWarning) as caught:
        assert len(archive.client.files) == 1
    assert [Path(warning.filename).name for warning in caught] == [HERE]
    assert archive.client.files.count() == 1
    assert archive.client.is_outdated
    archive.client.update()
    assert len(archive.client.files) == 2


def test_whoever_has_no_use_for_news_says_so_once(archive: Any) -> None:
    """Files by their names are read like all others; `ignore_news` is for a run that works with what its update found."""
    archive.write("a")
    archive.deliver()
    archive.write("b")
    archive.publish()
    with pytest.warns(OutdatedWarning):
        assert list(archive.client.files.get_many(["a", "b"])) == ["a"]
    with mmmeta(archive.client_path) as client:
        client.ignore_news()  # warnings are errors here
        assert list(client.files.get_many(["a", "b"])) == ["a"]
        assert client.files.count() == 1


# Loops


def test_a_loop_may_save_what_it_selects_by(tmp_path: Path) -> None:
    """Each file comes once although saving takes it out of the selection; thousands, over several chunks."""
    with Metadir(tmp_path) as metadir:
        metadir.files.insert_many({"content_hash": f"{number:04}"} for number in range(2_500))
        metadir.update()
        seen = []
        with pytest.warns(UnknownKeyWarning):
            loop = metadir.files.find(imported=False)
        for file in loop:
            seen.append(file.unique_value)
            if len(seen) % 50 == 1:
                file["imported"] = True
                file.save()
        assert seen == sorted(set(seen))
        assert len(seen) == 2_500
        assert metadir.files.count(imported=True) == 50


def test_an_update_during_a_loop(archive: Any) -> None:
    """The loop goes on with what it had selected, as it is by then; what was deleted before its turn is left out."""
    for number in range(300):
        archive.write(f"{number:03}", x=1)
    archive.deliver()
    loop = archive.client.files.find(x=1)
    first = next(loop)
    archive.write("299", x=1, new="key")
    archive.server.files.delete(content_hash="298")
    archive.write("300", x=1)
    archive.deliver()
    rest = [file.unique_value for file in loop]
    assert [first.unique_value, *rest] == [f"{number:03}" for number in range(300) if number != 298]


def test_reading_while_another_thread_updates(archive: Any) -> None:
    """Loops and updates in several threads do not get in each other's way."""
    for number in range(200):
        archive.write(f"{number:03}", x=0)
    archive.deliver()
    stop = threading.Event()
    problems: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                if len([file for file in archive.client.files.find(order_by="x") if "x" in file]) != 200:
                    raise AssertionError("not all files were read")
            except Exception as error:  # pytest has to see what a thread met
                problems.append(error)
                return

    archive.client._backend.state._warned = True  # which loop meets the new metadata first does not matter here
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for round_ in range(5):
            for number in range(0, 200, 7):
                archive.write(f"{number:03}", {"x": round_, f"key{round_}": True})
            archive.deliver()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not problems
