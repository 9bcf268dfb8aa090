"""examples/deploy/kubernetes/values.yaml: the chart knows every key, and what it makes of them is what Dagster and Kubernetes take.

Dagster's chart itself is not here: it is in no package registry, so nothing renders it, and neither its templates nor its schema are
checked. ``CHART`` has the names of the keys that we use, as its schema has them; what it makes of the values (Dagster's instance, the
code server; the Job of a run is in ``test_deploy_kubernetes.py``) is made here from the same values, and given to what will read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import WITH_TOOLS, check_kubernetes, launcher_of, misspelt, snake, stores_a_run, values


def instance_of(values: Any, folder: Path) -> Any:
    """Dagster's instance as the chart writes it, all but where the server is: that of the tests."""
    import dagster as dg
    from sqlalchemy import make_url

    postgresql, daemon = dict(values["postgresql"]), values["dagsterDaemon"]
    for name in ("enabled", "postgresqlHost", "postgresqlUsername", "postgresqlDatabase"):
        postgresql.pop(name)
    scheme = {name.removeprefix("postgresql").lower(): value for name, value in postgresql.items()}
    server = make_url(os.environ["MMMETA_TEST_POSTGRES"])
    database = {"username": server.username, "hostname": "", "db_name": server.database, "params": dict(server.query)}
    storage = {"config": {"postgres_db": {**database, **scheme}}}
    tree = {
        "run_storage": {"module": "dagster_postgres.run_storage", "class": "PostgresRunStorage", **storage},
        "event_log_storage": {"module": "dagster_postgres.event_log", "class": "PostgresEventLogStorage", **storage},
        "schedule_storage": {
            "module": "dagster_postgres.schedule_storage",
            "class": "PostgresScheduleStorage",
            **storage,
        },
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher_of(values, folder)},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": daemon["runCoordinator"]["type"],
            "config": snake(daemon["runCoordinator"]["config"]["queuedRunCoordinator"]),
        },
        "run_monitoring": snake(daemon["runMonitoring"]),
        "telemetry": values["telemetry"],
    }
    (folder / "dagster.yaml").write_text(yaml.safe_dump(tree))
    instance = dg.DagsterInstance.from_config(str(folder))
    # They are made, and their settings read, when somebody asks.
    assert instance.run_launcher is not None
    assert instance.run_coordinator is not None
    return instance


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
def test_the_instance_of_the_chart_opens_and_stores_runs(tmp_path: Path) -> None:
    """With its launcher and its queue, in PostgreSQL."""
    with instance_of(values(), tmp_path) as instance:
        assert type(instance.run_launcher).__name__ == "K8sRunLauncher"
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        assert stores_a_run(instance)


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "path",
    [
        ("postgresql", "postgresqlScheme"),
        ("dagsterDaemon", "runCoordinator", "config", "queuedRunCoordinator", "maxConcurrentRuns"),
        ("dagsterDaemon", "runMonitoring", "pollIntervalSeconds"),
        ("runLauncher", "config", "k8sRunLauncher", "failPodOnRunFailure"),
        ("runLauncher", "config", "k8sRunLauncher", "runK8sConfig", "jobSpecConfig"),
        ("telemetry", "enabled"),
    ],
)
def test_a_misspelt_key_of_the_chart_s_instance_is_told(path: tuple[str, ...], tmp_path: Path) -> None:
    """Helm itself would drop some of these without a word."""
    import dagster as dg

    key = re.sub("[A-Z]", lambda found: f"_?{found[0]}", path[-1].removeprefix("postgresql"))
    with pytest.raises(dg.DagsterInvalidConfigError, match=f"(?i){key}{key[-1]}"):
        instance_of(misspelt(values(), *path), tmp_path)


CHART: Any = {
    "global": {"postgresqlSecretName": str},
    "generatePostgresqlPasswordSecret": bool,
    "postgresql": {
        "enabled": bool,
        "postgresqlScheme": str,
        "postgresqlHost": str,
        "postgresqlUsername": str,
        "postgresqlDatabase": str,
    },
    "dagsterWebserver": {"image": {"repository": str, "tag": str, "pullPolicy": str}},
    "dagster-user-deployments": {"enabled": bool, "deployments": list},
    "runLauncher": {
        "type": str,
        "config": {
            "k8sRunLauncher": {
                "imagePullPolicy": str,
                "failPodOnRunFailure": bool,
                "runK8sConfig": {"podSpecConfig": dict, "jobSpecConfig": dict},
            }
        },
    },
    "dagsterDaemon": {
        "image": {"repository": str, "tag": str, "pullPolicy": str},
        "runCoordinator": {
            "enabled": bool,
            "type": str,
            "config": {"queuedRunCoordinator": {"maxConcurrentRuns": int}},
        },
        "runMonitoring": {"enabled": bool, "pollIntervalSeconds": int, "freeSlotsAfterRunEndSeconds": int},
    },
    "telemetry": {"enabled": bool},
}
"""Keys of the chart's values that are used here, as its schema names them. The chart itself is in no package registry."""

DEPLOYMENT = {
    *("name", "image", "dagsterApiGrpcArgs", "port", "includeConfigInLaunchedRuns", "envSecrets", "nodeSelector"),
    *("volumes", "volumeMounts", "resources"),
}


def strangers(tree: Any, known: Any, at: str = "") -> Iterator[str]:
    """The keys that are not known, and values of another kind."""
    if not isinstance(known, dict):
        if not isinstance(tree, known):
            yield at
        return
    for key, value in tree.items():
        if key not in known:
            yield f"{at}/{key}"
        else:
            yield from strangers(value, known[key], f"{at}/{key}")


def deployment_of(values: Any) -> Any:
    """What the chart makes of a user deployment, as far as it hands on what is written."""
    (told,) = values["dagster-user-deployments"]["deployments"]
    assert set(told) == DEPLOYMENT
    container = {
        "name": told["name"],
        "image": "{repository}:{tag}".format(**told["image"]),
        "imagePullPolicy": told["image"]["pullPolicy"],
        "args": ["dagster", "api", "grpc", *told["dagsterApiGrpcArgs"]],
        "ports": [{"containerPort": told["port"]}],
        "envFrom": [{"secretRef": secret} for secret in told["envSecrets"]],
        **{name: told[name] for name in ("volumeMounts", "resources")},
    }
    pod = {"containers": [container], **{name: told[name] for name in ("volumes", "nodeSelector")}}
    labels = {"app": told["name"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": told["name"]},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def paths(tree: Any, known: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the keys stand that are held against the chart's."""
    for key, value in tree.items() if isinstance(known, dict) else ():
        yield (*at, key)
        yield from paths(value, known[key], (*at, key))


def test_the_chart_knows_every_value_and_none_that_is_misspelt() -> None:
    """Helm refuses the latter for launcher, queue, webserver and daemon alone."""
    assert list(strangers(values(), CHART)) == []
    for path in paths(values(), CHART):
        wrong = f"/{'/'.join(path)}{path[-1][-1]}"
        assert list(strangers(misspelt(values(), *path), CHART)) == [wrong]
    for name in DEPLOYMENT:
        with pytest.raises(AssertionError, match=name + name[-1]):
            deployment_of(misspelt(values(), "dagster-user-deployments", "deployments", 0, name))


@WITH_TOOLS
@pytest.mark.parametrize(
    "change", [None, ("volumeMounts", 0, "mountPath"), ("resources", "limits"), ("envSecrets", 0, "name")]
)
def test_the_code_server_is_one_of_kubernetes(change: tuple[Any, ...] | None) -> None:
    """What the values give to its pod unread is checked as a Deployment."""
    import kubernetes_validate

    if change is None:
        check_kubernetes(deployment_of(values()))
        return
    with pytest.raises(kubernetes_validate.ValidationError):
        check_kubernetes(deployment_of(misspelt(values(), "dagster-user-deployments", "deployments", 0, *change)))
