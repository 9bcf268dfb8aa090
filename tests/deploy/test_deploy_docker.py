"""examples/deploy: the project file, the image and what Docker gets load, fit together, and are refused when a key is misspelt.

What needs Dagster's library for Docker, and the schema of compose files, runs by `make test-deploy`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import DEPLOY, KUBERNETES, ROOT, SCHEMA, URLS, WITH_TOOLS, misspelt, read, stores_a_run

from mmmeta.errors import ProjectError
from mmmeta.project import load_project

# The project file and the image


def test_the_project_file_loads() -> None:
    """With the variables that the containers get, and no other ones."""
    archive = load_project(DEPLOY / "mmmeta.yaml").metadirs["archive"]
    assert archive.state == URLS["STATE_URL"]
    assert str(archive.path) == "/archive"
    assert list(archive.jobs) == ["contracts"]


@pytest.mark.parametrize(
    "path", [("state",), ("sensor", "interval"), ("jobs", "contracts", "where"), ("jobs", "contracts", "load", "table")]
)
def test_a_misspelt_key_of_the_project_file_is_told(path: tuple[str, ...], tmp_path: Path) -> None:
    """By its name."""
    wrong = misspelt(read(DEPLOY / "mmmeta.yaml"), "metadirs", "archive", *path)
    (tmp_path / "mmmeta.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(ProjectError, match=path[-1] + path[-1][-1]):
        load_project(tmp_path / "mmmeta.yaml")


def test_the_image_copies_what_is_there() -> None:
    """And installs extras and versions that exist: Dagster's libraries belong to the Dagster of constraints.txt."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    instructions = {line.split()[0] for line in lines if line.strip()}
    assert instructions <= {"FROM", "ENV", "COPY", "RUN", "WORKDIR", "USER", "EXPOSE"}
    for line in lines:
        if line.startswith("COPY "):
            assert all((ROOT / name).exists() for name in line.split()[1:-1]), line
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"/src\[([\w,]+)\]", text)[0].split(","):
        assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE), extra
    (minor, patch) = re.findall(r"^dagster==1\.(\d+)\.(\d+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]
    assert set(re.findall(r"dagster-\w+==(\S+)", text)) == {f"0.{int(minor) + 16}.{patch}"}
    assert f"--version 1.{minor}.{patch} " in (KUBERNETES / "values.yaml").read_text(encoding="utf-8")


# Docker


def compose() -> Any:
    return read(DEPLOY / "compose.yaml")


def test_what_the_runs_get_is_what_the_services_have() -> None:
    """The launcher gives variables, network and volume to the containers of runs by name."""
    config = read(DEPLOY / "dagster.yaml")["run_launcher"]["config"]
    services = compose()["services"]
    for name in ("daemon", "code"):
        assert set(config["env_vars"]) <= set(services[name]["environment"]), name
    assert config["network"] == compose()["networks"]["mmmeta"]["name"]
    volume, _, target = config["container_kwargs"]["volumes"][0].partition(":")
    assert volume == compose()["volumes"]["archive"]["name"]
    assert f"archive:{target}" in services["code"]["volumes"]
    assert services["code"]["environment"]["DAGSTER_CURRENT_IMAGE"] == services["code"]["image"]
    grpc = read(DEPLOY / "workspace.yaml")["load_from"][0]["grpc_server"]
    assert grpc["host"] in services
    assert str(grpc["port"]) in services["code"]["command"]


def test_every_variable_is_in_the_example() -> None:
    """Nobody has to guess."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked == set(re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(encoding="utf-8"), re.MULTILINE))


def check_compose(tree: Any) -> None:
    import jsonschema

    jsonschema.Draft7Validator(json.loads(Path(SCHEMA).read_text())).validate(tree)


@WITH_TOOLS
def test_compose_takes_it() -> None:
    """By the schema of compose files."""
    check_compose(compose())


@WITH_TOOLS
@pytest.mark.parametrize(
    "path",
    [
        ("services",),
        ("services", "code", "command"),
        ("services", "postgres", "healthcheck", "interval"),
        ("networks",),
    ],
)
def test_a_misspelt_key_of_compose_is_told(path: tuple[str, ...]) -> None:
    import jsonschema

    with pytest.raises(jsonschema.ValidationError, match=path[-1] + path[-1][-1]):
        check_compose(misspelt(compose(), *path))


def open_instance(tree: Any, folder: Path) -> Any:
    """Dagster's instance, with its launcher; its own tables in a file unless there is a server."""
    import dagster as dg

    server = os.environ.get("MMMETA_TEST_POSTGRES")
    if server:
        os.environ["DAGSTER_PG_URL"] = server.replace("+psycopg:", "+psycopg2:")  # restored by the fixture
    elif "storage" in tree:
        tree = {**tree, "storage": {"sqlite": {"base_dir": str(folder)}}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(tree))
    instance = dg.DagsterInstance.from_config(str(folder))
    assert instance.run_launcher is not None
    return instance


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
def test_the_instance_of_docker_opens_and_stores_runs(tmp_path: Path) -> None:
    """With its launcher and its queue; in PostgreSQL where `make test-deploy` has started one."""
    with open_instance(read(DEPLOY / "dagster.yaml"), tmp_path) as instance:
        assert type(instance.run_launcher).__name__ == "DockerRunLauncher"
        assert instance.run_launcher.inst_data.config_dict["network"] == "mmmeta"
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        assert stores_a_run(instance)


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "path",
    [
        ("storage",),
        ("run_monitoring", "poll_interval_seconds"),
        ("concurrency", "runs", "max_concurrent_runs"),
        ("run_launcher", "config", "network"),
        ("run_launcher", "config", "env_vars"),
    ],
)
def test_a_misspelt_key_of_the_instance_is_told(path: tuple[str, ...], tmp_path: Path) -> None:
    import dagster as dg

    with pytest.raises(dg.DagsterInvalidConfigError, match=path[-1] + path[-1][-1]):
        open_instance(misspelt(read(DEPLOY / "dagster.yaml"), *path), tmp_path)
