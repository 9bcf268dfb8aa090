"""What a function of the action ``call`` may be and do."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from archives import Archive
from commands import failures, publish

from mmmeta import File
from mmmeta.errors import JobError


def test_an_exit_of_a_function_is_the_files_failure(archive: Archive) -> None:
    """``sys.exit()`` somewhere in a library ends neither the run nor the other files, in a thread neither."""
    publish(archive, *"abc")

    def work(file: File) -> None:
        if file.unique_value == "b":
            sys.exit("no licence")

    for name, rules in {"plain": {}, "threads": {"workers": 2}, "timed": {"timeout": 30}}.items():
        report = archive.client.job(name, **rules).run(work)
        assert (report.done, failures(report)) == (
            2,
            {"b": "RuntimeError: the function ended with sys.exit('no licence')"},
        )


@pytest.mark.parametrize("nonsense", [None, 0, False, "failed", object(), [1], ValueError("x")])
def test_what_a_function_returns_is_ignored(nonsense: Any, archive: Archive) -> None:
    """Only what it raises is a failure."""
    publish(archive, "a")
    assert archive.client.job("j").run(lambda file: nonsense).done == 1


async def asynchronous(file: File) -> None:
    """Does nothing when it is called."""


def generator(file: File) -> Iterator[int]:
    yield 1


def generator_of(file: File) -> object:
    return generator(file)


async def asynchronous_generator(file: File) -> AsyncIterator[int]:
    yield 1


class Callable1:
    async def __call__(self, file: File) -> None:
        """Does nothing when it is called."""


@pytest.mark.parametrize(
    "function", [asynchronous, generator, asynchronous_generator, functools.partial(asynchronous), Callable1()]
)
def test_a_function_that_does_nothing_yet_is_refused(function: Any, archive: Archive) -> None:
    """Otherwise every file would be done and nothing have happened."""
    publish(archive, "a")
    with pytest.raises(JobError, match="a call of it does nothing yet"):
        archive.client.job("j").run(function)
    assert archive.client.job("j", where={}).status().pending == 1
    hidden: dict[str, Callable[[File], object]] = {"one": lambda file: asynchronous(file), "two": generator_of}
    for name, work in hidden.items():
        report = archive.client.job(name).run(work)
        assert "nothing was done" in failures(report)["a"]
    assert archive.client.job("wrapped").run(lambda file: asyncio.run(asynchronous(file))).done == 1
