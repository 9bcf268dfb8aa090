"""News that something else than Dagster's own jobs has brought: the sensor asks for the jobs that have not seen them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from small_archive import Archive
from watch import Watch

from mmmeta import File, JobStatus
from mmmeta.project import MetadirConfig, job_config
from mmmeta_dagster import build_definitions, keys, mmmeta_asset
from mmmeta_dagster.assets.decorator import with_jobs

SINCE = "files were merged or saved since its selection was evaluated"


class WithFunctions(Archive):
    """An archive with two jobs made in Python: one reads letters, one what a person has marked."""

    @property
    def watched(self) -> MetadirConfig:
        jobs = [job_config("read", {"document_type": "letter"}), job_config("marked", {"mark": "x"})]
        return with_jobs(self.config, jobs)

    @property
    def definitions(self) -> dg.Definitions:
        metadir = self.config

        @mmmeta_asset(metadir=metadir, where={"document_type": "letter"})
        def read(file: File) -> None:
            file["read"] = True
            file.save()

        @mmmeta_asset(metadir=metadir, where={"mark": "x"})
        def marked(file: File) -> None: ...

        return build_definitions(metadirs={"archive": metadir}, assets=[read, marked])


@pytest.fixture
def both(archive: Archive) -> Iterator[Watch]:
    """The sensor of an archive with jobs in the project file and in Python; all is done."""
    ours = WithFunctions(archive.root)
    with ours.open() as m:
        m.update()
        file = next(iter(m.files.find(document_type="letter")))
        file["mark"] = "y"  # a column of that name is there
        file.save()
    with dg.DagsterInstance.ephemeral() as instance:
        watch = Watch(ours, instance)
        assert watch.run(watch.asks()).success
        assert watch.skips().startswith("Nothing to do")
        yield watch


def standing(watch: Watch, job: str) -> JobStatus:
    return watch.archive.status.jobs[job]


def mark(watch: Watch, key: str, value: Any) -> None:
    """A person sets a column of their own."""
    with watch.archive.open() as m:
        for file in m.files.find(document_type="letter"):
            file[key] = value
            file.save()


def test_what_was_merged_by_other_hands_reaches_every_job(both: Watch) -> None:
    """`mmmeta update`, or an asset of one's own that updates: one run, also for jobs that only Dagster knows."""
    both.archive.write("letter7", "letter")
    both.archive.publish()
    with both.archive.open() as m:
        m.update()
    request = both.asks()
    assert f"read: {SINCE}" in request.tags[keys.TAG_REASON]
    assert standing(both, "read").evaluated < both.archive.status.state_revision
    assert both.run(request).success
    assert (standing(both, "read").done, standing(both, "look").done) == (3, 3)
    assert standing(both, "read").evaluated == both.archive.status.state_revision
    assert both.skips().startswith("Nothing to do")


def test_a_column_that_a_person_sets_is_noticed_by_the_job_that_selects_on_it(both: Watch) -> None:
    """`file.save()`: one run, and then rest."""
    mark(both, "mark", "x")
    request = both.asks()
    assert request.tags[keys.TAG_REASON] == f"marked: {SINCE}."
    assert both.run(request).success
    assert standing(both, "marked").done == 2
    assert both.skips().startswith("Nothing to do")


def test_a_column_that_concerns_no_job_wakes_nobody(both: Watch) -> None:
    """Somebody who marks files all day has no run after each mark."""
    mark(both, "stars", 5)
    assert both.skips().startswith("Nothing to do")


def test_news_without_work_cost_one_run(both: Watch) -> None:
    """Evaluating the selection is enough, also where it finds nothing."""
    mark(both, "mark", "z")
    assert both.run(both.asks()).success
    assert both.skips().startswith("Nothing to do")


def test_what_a_job_saves_itself_is_no_news(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The flag that a function sets and its own selection asks for, as scripts do: no second run."""

    class Flagging(Archive):
        @property
        def watched(self) -> MetadirConfig:
            return with_jobs(self.config, [job_config("importing", {"imported": {"!=": True}})])

        @property
        def definitions(self) -> dg.Definitions:
            @mmmeta_asset(metadir=self.config, where={"imported": {"!=": True}})
            def importing(file: File) -> None:
                file["imported"] = True
                file.save()

            return build_definitions(metadirs={"archive": self.config}, assets=[importing])

    ours = Flagging(archive.root)
    with ours.open() as m:
        m.update()
        file = next(iter(m.files))
        file["imported"] = False
        file.save()
    watch = Watch(ours, instance)
    assert watch.run(watch.asks()).success
    assert standing(watch, "importing").done == 5
    assert watch.skips().startswith("Nothing to do")
