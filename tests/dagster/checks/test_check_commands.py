"""The commands that asset checks name: they work as they stand there, whoever made the job."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing

import dagster as dg
import pytest
from click.testing import CliRunner
from small_archive import Archive

from mmmeta import File
from mmmeta.cli import main
from mmmeta.project import MetadirConfig
from mmmeta_dagster import build_definitions, mmmeta_asset


def commands(result: dg.ExecuteInProcessResult) -> list[str]:
    """What the checks of a run name, those that look before those that mend."""
    told = [
        (name, str(value.value))
        for evaluation in result.get_asset_check_evaluations()
        for name, value in evaluation.metadata.items()
        if name in ("see more", "what mends it")
    ]
    return [command for _, command in sorted(told)]


@pytest.mark.parametrize("with_project_file", [True, False])
def test_the_commands_that_checks_name_work(
    archive: Archive, instance: dg.DagsterInstance, with_project_file: bool
) -> None:
    """For a job made in Python as well, and where no project file stands behind any (as with a component)."""
    archive.configure(archive.project.read_text().replace("attempts: 3\n        backoff: 1s", "attempts: 1"))
    config = archive.config
    if not with_project_file:
        config = MetadirConfig(name="archive", path=archive.client, files_root=archive.server, jobs=archive.config.jobs)

    @mmmeta_asset(metadir=config, where={"document_type": "letter"}, attempts=1)
    def read(file: File) -> None:
        if file["_file_name"] == "letter1.txt":
            raise ValueError("cannot be read")

    archive.fail("letter1.txt")
    definitions = build_definitions(metadirs={"archive": config}, assets=[read])
    result = definitions.resolve_job_def("archive_import").execute_in_process(instance=instance, raise_on_error=False)
    with closing(sqlite3.connect(archive.root / "loaded.db")) as loaded, loaded:
        loaded.execute("DELETE FROM documents WHERE document_type = 'letter'")
    looked = definitions.resolve_job_def("archive_checks").execute_in_process(instance=instance)
    named = [*commands(result), *commands(looked)]
    assert sum("jobs retry" in command for command in named) >= 3
    for command in dict.fromkeys(named):
        done = CliRunner().invoke(main, shlex.split(command.removeprefix("mmmeta ")))
        # 3: it looked, and found what is wrong.
        assert done.exit_code in ((0, 3) if command.endswith(" check") else (0,)), f"{command}\n{done.output}"
    assert {name: job.dead for name, job in archive.status.jobs.items() if job.dead} == {}
