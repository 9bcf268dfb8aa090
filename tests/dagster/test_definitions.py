"""The code location: what it is built from, what is in it, and the commands that load it."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from small_archive import Archive

import mmmeta_dagster
from mmmeta.errors import ProjectError
from mmmeta_dagster import build_definitions, keys
from mmmeta_dagster.location import find_metadirs

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(mmmeta_dagster.__path__, "mmmeta_dagster.")
    if "definitions" not in name
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A DAGSTER_HOME that calls nobody."""
    folder = tmp_path / "dagster_home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return folder


def command(home: Path, cwd: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of Dagster, as a person types it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MMMETA", "DAGSTER"))}
    return subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        cwd=cwd,
        env={**clean, "DAGSTER_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_everything_has_the_names_of_the_project_file(archive: Archive) -> None:
    """Assets, Dagster jobs, sensor, schedules, resource."""
    archive.configure(
        archive.project.read_text().replace(
            "path: ./client",
            'path: ./client\n    generate: true\n    schedules: {generate: "@hourly", import: "0 3 * * *"}',
        )
    )
    repository = archive.definitions.get_repository_def()
    assert {name for name in repository.job_names if not name.startswith("__")} == {
        "archive_generate",
        "archive_update",
        "archive_import",
        "archive_checks",
        "archive_download_contracts",
        "archive_load_all",
        "archive_look",
    }
    assert [sensor.name for sensor in repository.sensor_defs] == ["archive_remote_updated"]
    assert {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs} == {
        "archive_generate_schedule": "@hourly",
        "archive_import_schedule": "0 3 * * *",
    }
    assert "archive_metadir" in repository.get_top_level_resources()


def test_the_jobs_use_one_process_and_the_definitions_no_executor_of_their_own(archive: Archive) -> None:
    """Two definitions that bring an executor do not merge."""
    definitions = archive.definitions
    assert definitions.executor is None
    assert definitions.resolve_job_def("archive_import").executor_def.name == "in_process"
    assert dg.Definitions.merge(archive.definitions, dg.Definitions(executor=dg.multiprocess_executor))


def test_runs_show_the_name_of_the_metadir_and_not_its_path(archive: Archive) -> None:
    """The UI shows tags whole, in each line of its list of runs; what begins with .dagster/ it keeps to itself."""
    job = archive.definitions.resolve_job_def("archive_import")
    shown = {key: value for key, value in job.tags.items() if not key.startswith(".dagster/")}
    assert shown == {"mmmeta/metadir": "archive"}
    assert job.tags[keys.TAG_PATH] == str(archive.client)


def test_sensor_and_schedules_run_unless_told_otherwise(archive: Archive) -> None:
    """`sensor: {enabled: false}` is for those who only want the clock."""
    text = archive.project.read_text()
    (sensor,) = archive.definitions.get_repository_def().sensor_defs
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 5
    archive.configure(
        text.replace("{interval: 5, attempts: 3}", '{enabled: false}\n    schedules: {import: "0 3 * * *"}')
    )
    repository = archive.definitions.get_repository_def()
    (sensor,), (schedule,) = repository.sensor_defs, repository.schedule_defs
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_schedule_skips_while_the_run_before_is_alive(archive: Archive) -> None:
    """A slow import is not doubled by the clock."""
    archive.configure(archive.project.read_text().replace("sensor:", 'schedules: {import: "* * * * *"}\n    sensor:'))
    definitions = archive.definitions
    (schedule,) = definitions.get_repository_def().schedule_defs
    job = definitions.resolve_job_def("archive_import")
    with dg.instance_for_test() as instance:
        with dg.build_schedule_context(instance=instance) as context:
            assert schedule.evaluate_tick(context).run_requests
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=job.tags)
        with dg.build_schedule_context(instance=instance) as context:
            assert schedule.evaluate_tick(context).skip_message == f"Run {run.run_id[:8]} is starting."


def test_everything_that_the_ui_lists_has_a_description(archive: Archive) -> None:
    """Jobs, sensors, schedules and assets, in sentences."""
    archive.configure(
        archive.project.read_text().replace(
            "path: ./client",
            'path: ./client\n    generate: true\n    schedules: {generate: "@hourly", import: "0 3 * * *"}',
        )
    )
    repository = archive.definitions.get_repository_def()
    listed = [*repository.get_all_jobs(), *repository.schedule_defs, *repository.sensor_defs]
    listed = [one for one in listed if not one.name.startswith("__")]
    nodes = [repository.asset_graph.get(key) for key in repository.asset_graph.get_all_asset_keys()]
    assert len(listed) == 10
    for one in (*listed, *nodes):
        assert one.description is not None, one
        assert one.description.endswith("."), one


def test_two_metadirs_stand_side_by_side(archive: Archive) -> None:
    """Each with its own names and resource."""
    archive.configure("{version: 1, metadirs: {one: {path: ./client}, two: {path: ./server, generate: true}}}")
    repository = archive.definitions.get_repository_def()
    assert {"one_metadir", "two_metadir"} <= set(repository.get_top_level_resources())
    assert {"one_import", "two_import", "two_generate"} <= set(repository.job_names)
    assert "one_generate" not in repository.job_names


def test_the_project_file_comes_before_the_environment_of_one_metadir(archive: Archive) -> None:
    """MMMETA_PROJECT, ./mmmeta.yaml, MMMETA."""
    nowhere = archive.root / "nowhere"
    nowhere.mkdir()
    named = {"MMMETA_PROJECT": str(archive.project), "MMMETA": str(archive.server)}
    assert list(find_metadirs(named, nowhere)) == ["archive"]
    assert list(find_metadirs({"MMMETA": str(archive.server)}, archive.root)) == ["archive"]
    (metadir,) = find_metadirs({"MMMETA": str(archive.server)}, nowhere).values()
    assert (metadir.name, metadir.path, metadir.jobs, metadir.generate) == ("mmmeta", archive.server, {}, False)


def test_with_neither_it_refuses_to_load_and_says_where_it_looked(tmp_path: Path) -> None:
    """A file that was mounted in the wrong place must not look like a healthy empty archive."""
    with pytest.raises(
        ProjectError, match=r"MMMETA_PROJECT is not set, there is no mmmeta\.yaml in .*MMMETA is not set"
    ):
        find_metadirs({}, tmp_path)
    with pytest.raises(ProjectError, match="does not exist"):
        find_metadirs({"MMMETA_PROJECT": "/nowhere/mmmeta.yaml", "MMMETA": str(tmp_path)}, tmp_path)


def test_one_metadir_of_the_environment_has_update_and_import(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Without a project file there are no jobs."""
    definitions = build_definitions(metadirs=find_metadirs({"MMMETA": str(archive.client)}, archive.root / "server"))
    assert definitions.resolve_job_def("mmmeta_import").execute_in_process(instance=instance).success


def test_dagster_job_execute_works_from_the_folder_of_the_project_file(archive: Archive, home: Path) -> None:
    """The command of the README, twice; and the import is there afterwards."""
    execute = ("dagster", "job", "execute", "-m", "mmmeta_dagster.definitions", "-j", "archive_import")
    first = command(home, archive.root, *execute, PYTHONPATH=str(archive.root))
    assert first.returncode == 0, first.stderr
    assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]
    named = {"MMMETA_PROJECT": str(archive.project), "PYTHONPATH": str(archive.root)}
    again = command(home, home, *execute, **named)
    assert again.returncode == 0, again.stderr
    assert sorted(archive.looked) == ["letter0.txt", "letter1.txt"]


def test_dagster_job_execute_says_in_one_line_what_is_missing(empty_archive: Archive, home: Path) -> None:
    """Before the archive is there."""
    execute = ("dagster", "job", "execute", "-m", "mmmeta_dagster.definitions", "-j", "archive_import")
    result = command(home, empty_archive.root, *execute)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if "dagster._core.definitions.events.Failure" in line]
    assert lines
    assert all(str(empty_archive.client) in line for line in lines)
    assert "MetadirNotFoundError" not in result.stderr


def test_loading_says_which_archive_is_not_there_yet(empty_archive: Archive, home: Path) -> None:
    """In the terminal of `dagster dev`; it loads all the same, and is quiet once there is a metadir."""
    validate = ("dagster", "definitions", "validate", "-m", "mmmeta_dagster.definitions")
    before = command(home, empty_archive.root, *validate)
    assert before.returncode == 0, before.stderr
    words = f"archive: {empty_archive.client / '_mmmeta'} is not there yet; run what makes it"
    assert words in before.stdout + before.stderr
    (empty_archive.client / "_mmmeta").mkdir(parents=True)
    after = command(home, empty_archive.root, *validate)
    assert after.returncode == 0, after.stderr
    assert "is not there yet" not in after.stdout + after.stderr


def test_the_code_location_loads_through_the_workspace_file(archive: Archive, home: Path) -> None:
    """`-w workspace.yaml`, in the folder of a project file."""
    validate = ("dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml"))
    result = command(home, archive.root, *validate)
    assert result.returncode == 0, result.stderr
    assert "Validation successful for code location mmmeta" in result.stdout + result.stderr


def test_the_code_location_says_where_it_looked_when_it_cannot_load(tmp_path: Path, home: Path) -> None:
    """In the terminal, and the same in the UI."""
    result = command(home, tmp_path, "dagster", "definitions", "validate", "-m", "mmmeta_dagster.definitions")
    assert result.returncode != 0
    assert f"there is no mmmeta.yaml in {tmp_path}" in result.stdout + result.stderr


def test_loading_costs_little_beyond_dagster_itself(archive: Archive, home: Path) -> None:
    """It imports no SQL and opens nothing; measured in modules, because seconds depend on the machine."""
    code = (
        "import sys, dagster; before = set(sys.modules); import mmmeta_dagster.definitions as d; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    result = command(home, archive.root, "python", "-c", code)
    assert result.returncode == 0, result.stderr
    heavy = {"dataset", "pandas", "fsspec", "rich"} & set(ast.literal_eval(result.stdout))
    assert heavy == set()


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    """Each public factory has one."""
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_every_factory_has_an_example() -> None:
    """`build_*`, keyword-only."""
    for name in mmmeta_dagster.__all__:
        if name.startswith("build_"):
            assert ">>>" in getattr(mmmeta_dagster, name).__doc__, name


def test_only_public_names_of_dagster_are_used() -> None:
    """Nothing from dagster._core, which moves: dagster itself, and what it has for authors of components."""
    for path in Path(mmmeta_dagster.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            inner = [name for name in names if name.startswith(("dagster.", "dagster_"))]
            allowed = ("dagster.components", "dagster.preview")
            assert not [name for name in inner if not name.startswith(allowed)], path
