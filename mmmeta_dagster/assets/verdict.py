"""Whether the run of a job counts as failed in Dagster, although its files are the ledger's business.

A red run is a call for a person. So it is red where the job itself seems to be broken (nothing of it works), and not
where single documents are bad: those stand in the table of failures, and in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable

from mmmeta import RunReport
from mmmeta.state.status import JobStatus


def verdict(
    report: RunReport, standing: JobStatus, fail_run_above: float | None, name_of: Callable[[str], str]
) -> str | None:
    """Why the run of a job fails, in one sentence; None where it succeeds, although files may have failed.

    Files that failed in earlier runs too were told of then, and tell nothing new about the job: a run that only tries
    them once more does not fail, if the job ever did anything. ``standing`` is how the ledger has the job after the run,
    ``name_of`` gives what a person calls a file.
    """
    if not report.failures:
        return None
    known = sum(failure.attempts > 1 for failure in report.failures)
    new = report.failed + report.dead - known
    first = next((failure for failure in report.failures if failure.attempts == 1), report.failures[0])
    example = f"{name_of(first.file)}: {first.error_type}: {first.message}"
    worked = report.done + report.retracted
    # One new file that fails by itself in a run says little about a job that has done others.
    if not worked and (standing.done == 0 or new > 1):
        what = "the one file that was due" if report.attempted == 1 else f"none of {report.attempted} files"
        return f"{report.job}: {what} could {'not ' if report.attempted == 1 else ''}be done. {example}"
    tried = report.attempted - known
    # A single file is no share of anything, unless all that the job ever did was to fail.
    if fail_run_above is not None and tried and new / tried > fail_run_above and (worked or new > 1):
        return (
            f"{report.job}: {new / tried:.0%} of {tried} files failed, more than the {fail_run_above:.0%} that "
            f"fail_run_above allows. {example}"
        )
    return None
