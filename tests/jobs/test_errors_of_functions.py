"""What a function may raise: any exception, whatever it says and whoever's it is, is its file's failure alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

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
    from mmmeta.state.ledger.sqlite.ledger import SqliteLedger as Ledger

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


class Timeout(BaseException):
    """As gevent's: no Exception."""


@pytest.mark.parametrize("rules", [{}, {"workers": 2}, {"timeout": "5m"}], ids=["plain", "workers", "timeout"])
@pytest.mark.parametrize("error", [asyncio.CancelledError("x"), GeneratorExit("x"), Timeout("x")], ids=repr)
def test_exceptions_that_are_no_exception(archive: Archive, error: BaseException, rules: dict[str, object]) -> None:
    """A cancelled task is the failure of its file, at once, and nobody else's."""
    started = time.monotonic()
    assert_only_b_failed(job_of_three(archive, **rules), error, type(error).__name__, "x")
    assert time.monotonic() - started < 60


def test_a_signal_that_raises_something_else(archive: Archive) -> None:
    """As Dagster's handler: what it raises is no Exception, and it is the run that ends; nothing counts as failed."""

    def handle(number: int, frame: object) -> None:
        raise Timeout

    before = signal.signal(signal.SIGUSR1, handle)
    job = job_of_three(archive)
    try:
        with pytest.raises(Timeout):
            job.run(lambda file: signal.raise_signal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (job.status().pending, job.status().failed) == (3, 0)


def test_a_thread_that_ends_the_run_loses_nobody_elses_outcome(archive: Archive) -> None:
    """What was ready at the same moment is recorded."""
    both = threading.Barrier(2)

    def end(file: File) -> None:
        if file.unique_value != "c":
            both.wait(60)
            if file.unique_value == "b":
                raise KeyboardInterrupt

    job = job_of_three(archive, workers=2)
    with pytest.raises(KeyboardInterrupt):
        job.run(end)
    assert {entry.file for entry in job.files("done")} >= {"a"}
    assert job.entry("b").status == "pending"


def test_a_function_that_hangs_in_a_thread_does_not_keep_the_process(archive: Archive) -> None:
    """Who asks twice ends at once, with all claims given back; the thread ends with the process."""
    job_of_three(archive)
    code = """
import sys, threading
from mmmeta import mmmeta
def hang(file):
    print("at it\\n", end="", flush=True)  # in one piece: two threads say it
    threading.Event().wait()
mmmeta(sys.argv[1]).job("import", workers=2).run(hang)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(archive.client_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == process.stdout.readline() == b"at it\n"
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
    job = archive.client.job("import", workers=2)
    assert (job.status().pending, job.status().claimed) == (3, 0)


@pytest.mark.parametrize("ending", ["sys.exit(7)", "return", "raise ValueError('x')"])
def test_a_function_that_forks(archive: Archive, ending: str) -> None:
    """The child ends where the function ends, and leaves its parent's run alone."""
    job_of_three(archive)
    code = f"""
import os, sys
from mmmeta import mmmeta
def fork(file):
    child = os.fork()
    if child == 0:
        {ending}
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print("done", mmmeta(sys.argv[1]).job("import").run(fork).done, flush=True)
"""
    command = [sys.executable, "-c", code, str(archive.client_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    exit_code = {"sys.exit(7)": "7", "return": "0"}.get(ending, "1")
    assert answer.stdout.splitlines() == [*[exit_code] * 3, "done 3"]
