"""``partitions`` in the project file, and what the core does for those who work through a part of a job's files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from mmmeta import File, Metadir, mmmeta
from mmmeta.errors import JobError, ProjectError
from mmmeta.project import job_config, load_project
from mmmeta.project.dagster.partitions import PartitionsConfig

JOB = "version: 1\nmetadirs:\n  archive:\n    path: ./a\n    jobs:\n      j:\n        download: {to: ./d}\n"


def read(folder: Path, partitions: str) -> PartitionsConfig | None:
    path = folder / "mmmeta.yaml"
    path.write_text(f"{JOB}        partitions: {partitions}\n")
    return load_project(path).metadirs["archive"].jobs["j"].partitions


def test_windows_of_time_and_values_of_a_key(tmp_path: Path) -> None:
    windows = read(tmp_path, "{by: retrieved_at, every: month, start: 2024-02-15}")
    assert windows is not None
    assert (windows.first, windows.zone) == (date(2024, 2, 1), "UTC")
    assert windows.words == "by retrieved_at, every month since 2024-02-15, UTC"
    weeks = read(tmp_path, "{by: at, every: week, start: '2024-02-15', timezone: Europe/Berlin}")
    assert weeks is not None
    assert (weeks.first, weeks.zone) == (date(2024, 2, 12), "Europe/Berlin")
    values = read(tmp_path, "{by: 'publisher:name'}")
    assert values is not None
    assert (values.limit, values.words) == (1_000, "by publisher:name, 1,000 at most")
    assert read(tmp_path, "") is None


@pytest.mark.parametrize(
    ("written", "key", "reason"),
    [
        ("{every: day, start: 2024-01-01}", "", "the key 'by' is missing"),
        ("{by: x, every: day}", "", "every: day needs to know where to begin. Add start: 2024-01-01"),
        ("{by: x, every: year, start: 2024-01-01}", ".every", "should be 'hour', 'day', 'week' or 'month'"),
        ("{by: x, every: day, start: 5}", ".start", "needs a day: 2024-01-01"),
        ("{by: x, every: day, start: 2024-01-01T10:00:00}", ".start", "needs a day: 2024-01-01"),
        ("{by: x, every: day, start: 'May'}", ".start", "'May' is no day"),
        ("{by: x, start: 2024-01-01}", ".start", "goes with windows of time. Say which: every: day"),
        ("{by: x, timezone: UTC}", ".timezone", "goes with windows of time"),
        ("{by: x, every: day, start: 2024-01-01, timezone: Mars}", ".timezone", "'Mars' is no time zone"),
        ("{by: x, every: day, start: 2024-01-01, timezone: ../UTC}", ".timezone", "is no time zone"),
        ("{by: x, every: day, start: 2024-01-01, at_most: 3}", ".at_most", "for the values of a coarse key"),
        ("{by: x, at_most: 0}", ".at_most", "greater than or equal to 1"),
        ("{by: x, at_most: 1000000}", ".at_most", "Dagster recommends 100,000 partitions at most"),
        ("{by: __rev}", ".by", "belong to mmmeta"),
        ("{by: x, evry: day}", ".evry", "Did you mean 'every'?"),
    ],
)
def test_what_is_not_possible_is_named_with_its_line(tmp_path: Path, written: str, key: str, reason: str) -> None:
    with pytest.raises(ProjectError) as error:
        read(tmp_path, written)
    assert f"mmmeta.yaml:8: metadirs.archive.jobs.j.partitions{key}: " in str(error.value)
    assert reason in str(error.value)


def test_a_job_made_in_python_is_checked_too() -> None:
    with pytest.raises(JobError, match=r"Job 'extract': .*partitions"):
        job_config("extract", partitions={"by": "x", "every": "day"})


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Metadir]:
    """Six files of three publishers, one of whom has a number for a name."""
    with mmmeta(tmp_path) as m:
        for number, publisher in enumerate(["a", "a", "b", "b", 7, None]):
            m.files.insert(content_hash=str(number), publisher=publisher)
        m.update()
        yield m


def test_retry_of_a_part_of_the_files(archive: Metadir) -> None:
    """Failed ones, and dead or done ones if asked, that a filter means; no others."""
    job = archive.job("look", attempts=2, backoff="1h")

    def fail_first(file: File) -> None:
        assert file["content_hash"] not in ("0", "2")

    job.run(fail_first)
    assert (job.due(), job.retry(only={"publisher": "a"}), job.due()) == (0, 1, 1)
    assert job.retry(only={"publisher": "a"}, done=True) == 1
    assert (job.due(), job.due({"publisher": "a"}), job.due({"publisher": "b"})) == (2, 2, 0)
    assert job.retry(done=True, dry_run=True) == 4
    assert job.retry(done=True) == 4
    assert job.due() == 6


def test_what_a_run_has_done_by_value(archive: Metadir) -> None:
    """Of this run alone; each kind of value by itself, what is absent as None; keys that no file has are all absent."""
    job = archive.job("look")
    job.run(lambda file: None, run_id="first", only={"publisher": "a"})
    job.run(lambda file: None, run_id="second")
    assert job.done_by_value("publisher", "first") == [("a", 2)]
    assert sorted(job.done_by_value("publisher", "second"), key=str) == [("b", 2), (7, 1), (None, 1)]
    assert job.done_by_value("no such key", "first") == [(None, 2)]
