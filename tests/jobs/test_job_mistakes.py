"""Calls of ``m.job`` that cannot be meant: a clear error before anything happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import File, Job
from mmmeta.errors import JobError
from mmmeta.jobs.actions.call import import_function


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Three files, merged."""
    made = Archive(tmp_path)
    for name in ("f0001", "f0002", "f0003"):
        made.write(name)
    made.deliver()
    yield made
    made.close()


@pytest.fixture
def job(archive: Archive) -> Job:
    return archive.client.job("import", attempts=1)


def fail(file: File) -> None:
    raise ValueError("no")


def test_a_name_is_one_name(job: Job) -> None:
    """Not taken letter by letter."""
    adopted = job.adopt("f0001")
    assert (adopted.named, adopted.adopted, adopted.unknown) == (1, 1, 0)
    assert job.retry(files="f0001") == 1
    assert job.status().pending == 3


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_name_that_no_file_has_is_not_retried(job: Job, dry_run: bool) -> None:
    """It is named with what is near, and the others stay as they are, too."""
    job.adopt("f0001")
    with pytest.raises(JobError, match=r"there is no file 'f0007': .* Did you mean"):
        job.retry(files=["f0001", "f0007"], dry_run=dry_run)
    assert job.status().done == 1


def no_argument() -> None:
    """Takes nothing."""


def two_arguments(file: File, other: int) -> None:
    """Takes too much."""


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (3, "3 is no function"),
        ("print", "'print' is no function"),
        (no_argument, "no_argument cannot be called with one argument, .*: too many positional arguments"),
        (two_arguments, "two_arguments cannot be called with one argument, .*: missing a required argument: 'other'"),
    ],
)
def test_what_cannot_be_called_with_a_file(function: Any, words: str, batch: bool, job: Job) -> None:
    """It would fail all files, and use up their attempts."""
    with pytest.raises(JobError, match=words):
        job.run(function, batch=batch)
    assert job.status().pending == 3


def test_functions_that_say_nothing_of_their_arguments(job: Job) -> None:
    """Some that are written in C; and a class, and one with defaults."""
    assert job.run(dict).done == 3  # type: ignore[arg-type]
    job.forget()
    assert job.run(lambda file, *more, option=1: None).done == 3


def test_what_is_imported_and_no_function() -> None:
    """Its name is right, so no other is offered."""
    with pytest.raises(JobError, match=r"'digits' in 'string' is no function but str$"):
        import_function("string:digits", "j")


def test_rules_that_are_none(archive: Archive) -> None:
    """The nearest name is offered, also where it is no rule but an argument."""
    with pytest.raises(JobError, match=r"'wher' is not a rule\. Did you mean 'where'"):
        archive.client.job("x", wher={})
    with pytest.raises(JobError, match="'name' is not a rule"):
        archive.client.job("x", name="y")


def test_numbers_that_no_database_takes(archive: Archive) -> None:
    """Refused in rules; a claim of more than there is takes what there is."""
    for rule in ("batch_size", "workers", "attempts"):
        with pytest.raises(JobError, match=rule):
            archive.client.job("x", **{rule: 10**20})
    assert len(archive.client.job("x").claim(10**20)) == 3


def test_words_of_an_end(job: Job) -> None:
    """One attempt is one."""
    job.run(fail, limit=1)
    assert "dead after 1 attempt, waits" in job.why("f0001").lines[0]


def test_the_history_of_an_empty_run_id(job: Job) -> None:
    """As an unset variable gives it: not the history of all runs."""
    with pytest.raises(JobError, match="the id of the run is empty"):
        job.history(run_id="")
