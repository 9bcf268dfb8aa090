"""What a function may raise: any exception, whatever it says and whoever's it is, is its file's failure alone."""

from __future__ import annotations

import os

import pytest
from archives import Archive

from mmmeta import File, Job


class MuteError(Exception):
    """Says nothing."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def job_of_three(archive: Archive, **rules: object) -> Job:
    for name in "abc":
        archive.write(name)
    archive.deliver()
    return archive.client.job("import", **rules)


def assert_only_b_failed(job: Job, error: BaseException, error_type: str, message: str) -> None:
    """It is in the report and in the ledger, and the others are done."""

    def raise_for_b(file: File) -> None:
        if file.unique_value == "b":
            raise error

    report = job.run(raise_for_b)
    assert (report.done, report.failed, report.pending) == (2, 1, 0)
    (failure,) = report.failures
    assert (failure.file, failure.error_type, failure.message) == ("b", error_type, message)
    (entry,) = job.files("failed")
    assert (entry.error_type, entry.error_message) == (error_type, message)


def test_a_message_that_is_no_unicode(archive: Archive) -> None:
    """The name of a file that is not UTF-8, as Python has it, is stored with an escape; the batch is recorded."""
    error = ValueError(os.fsdecode(b"caf\xe9.pdf"))
    assert_only_b_failed(job_of_three(archive), error, "ValueError", "caf\\udce9.pdf")


def test_a_message_of_megabytes(archive: Archive) -> None:
    """Its beginning is kept."""
    error = ValueError("x" * 5_000_000)
    assert_only_b_failed(job_of_three(archive), error, "ValueError", f"{'x' * 2000}… (5000000 characters)")


def test_a_message_that_cannot_be_shown(archive: Archive) -> None:
    """An exception whose own ``__str__`` raises."""
    assert_only_b_failed(job_of_three(archive), MuteError(), "MuteError", "its message cannot be shown")


def test_outcomes_are_kept_until_they_are_recorded(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state db that cannot be written for a moment costs nothing that was done."""
    from mmmeta.ledger import Ledger

    job = job_of_three(archive)
    settle, times = Ledger.settle, []

    def fail_once(self: Ledger, *arguments: object, **options: object) -> object:
        times.append(1)
        if len(times) == 1:
            raise OSError("no space left")
        return settle(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "settle", fail_once)
    with pytest.raises(OSError, match="no space left"):
        job.run(lambda file: None)
    assert job.status().done == 3
