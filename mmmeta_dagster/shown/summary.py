"""The sentence that an asset's page begins with: what is so, what is wrong, and what there is to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from mmmeta import GenerateReport, RunReport, UpdateReport
from mmmeta.filters import format_size
from mmmeta.state.status import JobStatus
from mmmeta.sync import SyncReport
from mmmeta_dagster.shown.wording import clock_text


def of_run(report: RunReport, standing: JobStatus) -> str:
    """``12 files done (1.2 MB), 1 failed, 3 left; tried again from …; 15 dead in all, waiting for a person: …``.

    What runs before left behind belongs in it: a run without anything to do must not look as if all were well.
    """
    waiting = (f"{one.files} {one.reason}, until {clock_text(one.until)}" for one in report.waiting)
    return "; ".join((_of_this_run(report), *_failed(report, standing), *waiting, *_dead(report, standing)))


def of_outside(standing: JobStatus) -> str:
    """What a job has left that was worked on outside of Dagster; begins with ``; `` where that is anything."""
    return "".join(f"; {words}" for words in (*_failed(None, standing), *_dead(None, standing)))


def of_interruption(done: int, failed: int, left: int) -> str:
    """``terminated: 3 files done, 1 failed, 7 left (…)``."""
    told = f", {failed} failed" if failed else ""
    return f"terminated: {_done(done)}{told}, {left} left (what was at work is given back, untried)"


def of_update(report: UpdateReport, files: int) -> str:
    """``revision 3 is merged: 14 files added, 1 changed; 40 files in all``."""
    what = _changes(report) or "nothing new"
    return f"revision {report.revision} is merged: {what}; {_files(files)} in all"


def of_generate(report: GenerateReport) -> str:
    """``revision 3 is published: 14 files added; 1 metadata file is set aside …``."""
    said = f"revision {report.revision} is published: {_changes(report) or 'nothing new'}"
    if not report.problem_count:
        return said
    one = report.problem_count == 1
    aside = "1 metadata file is" if one else f"{report.problem_count:,} metadata files are"
    return f"{said}; {aside} set aside, which no job sees: mend {'it' if one else 'them'}, then generate again"


def of_pull(report: SyncReport) -> str:
    """``revision 8 was pulled from s3://bucket/archive: 5 files moved (12.3 KB)``."""
    moved = f"{_files(report.files)} moved ({format_size(report.bytes)})" if report.files else "nothing moved"
    if not report.is_new:
        return f"nothing new at {report.place}, revision {report.revision} is here: {moved}"
    return f"revision {report.revision} was pulled from {report.place}: {moved}"


def _changes(report: GenerateReport | UpdateReport) -> str:
    counts = {
        "added": report.added,
        "changed": report.changed,
        "deleted": report.deleted,
        "returned": report.returned,
    }
    told = [(number, what) for what, number in counts.items() if number]
    return ", ".join(
        f"{_files(number) if (number, what) == told[0] else f'{number:,}'} {what}" for number, what in told
    )


def _failed(report: RunReport | None, standing: JobStatus) -> Iterator[str]:
    if not standing.failed:
        return
    due = standing.earliest_due
    # Of the files that are postponed, too, which is said by itself.
    when = f"from {clock_text(due)}" if due is not None and not standing.postponed else "when they are due"
    if report is not None and standing.failed <= report.failed:
        yield f"tried again {when}"
    else:
        yield f"{standing.failed} failed{_in_all(report)}, tried again {when}"


def _dead(report: RunReport | None, standing: JobStatus) -> Iterator[str]:
    if not standing.dead:
        return
    told = f"{standing.dead} dead{_in_all(report)}, " if report is None or standing.dead > report.dead else ""
    yield f"{told}waiting for a person: mend the cause, then retry"


def _in_all(report: RunReport | None) -> str:
    return " in all" if report is None or report.attempted else ""


def _of_this_run(report: RunReport) -> str:
    if not report.attempted and report.postponed:
        return "nothing could be tried"
    if not report.attempted:
        return "nothing was pending" if not report.pending else f"nothing could be claimed, {report.pending} pending"
    size = f" ({format_size(report.bytes)})" if report.bytes else ""
    parts = [f"{_done(report.done)}{size}"]
    parts += [f"{report.retracted} retracted"] if report.retracted else []
    parts += [f"{report.failed} failed"] if report.failed else []
    parts += [f"{report.dead} dead"] if report.dead else []
    parts += [f"{report.pending} left"] if report.pending else []
    parts += ["stopped"] if report.stopped else []
    return ", ".join(parts)


def _done(number: int) -> str:
    return f"{_files(number)} done"


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"
