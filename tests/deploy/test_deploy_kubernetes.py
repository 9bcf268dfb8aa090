"""examples/deploy/kubernetes: what the chart, the run launcher and the cluster get is what they take, and nothing misspelt.

What needs Dagster's library for Kubernetes, and strict schemas, runs by `make test-deploy`.

Dagster's chart itself is not here: it is in no package registry, so nothing renders it, and neither its templates nor its schema are
checked. ``CHART`` has the names of the keys that we use, as its schema has them; what it makes of the values (Dagster's instance, the
Job of a run, the code server) is made here from the same values, and given to what will read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import DEPLOY, KUBERNETES, WITH_TOOLS, misspelt, read, stores_a_run

from mmmeta.project import load_project


def tags(tree: Any = None) -> dict[str, str]:
    """The tags that a run of ours has, of the project file or a changed one."""
    from mmmeta_dagster.location import build_definitions

    project = load_project(DEPLOY / "mmmeta.yaml")
    metadirs = project.metadirs
    if tree is not None:
        metadirs = {"archive": metadirs["archive"].model_copy(update={"run_tags": tree})}
    return dict(build_definitions(metadirs=metadirs).resolve_job_def("archive_import").tags)


def values() -> Any:
    return read(KUBERNETES / "values.yaml")


def snake(tree: Any) -> Any:
    """Keys as the chart hands them on to Dagster."""
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in tree.items()}


def launcher_of(values: Any, folder: Path) -> dict[str, Any]:
    """What the chart tells Dagster's launcher, and the address of a cluster that is asked for nothing."""
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "a", "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    told = snake(values["runLauncher"]["config"]["k8sRunLauncher"])
    told["run_k8s_config"] = snake(told["run_k8s_config"])
    return {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "dagster_home": "/opt/dagster/dagster_home",
        "load_incluster_config": False,
        "kubeconfig_file": str(folder / "kubeconfig"),
        **told,
    }


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


def job_of(values: Any, tags: Mapping[str, str], folder: Path) -> Any:
    """The Job that dagster-k8s builds for a run, as the API server gets it."""
    import dagster as dg
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    (deployment,) = values["dagster-user-deployments"]["deployments"]
    image = "{repository}:{tag}".format(**deployment["image"])
    launcher = K8sRunLauncher(job_image=image, **launcher_of(values, folder))
    # What the chart makes of `includeConfigInLaunchedRuns`.
    included = {
        "k8s": {
            "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
            "volumes": deployment["volumes"],
            "volume_mounts": deployment["volumeMounts"],
        }
    }
    run = dg.DagsterRun(job_name="archive_import", tags=dict(tags))
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
    context = context.merge(K8sContainerContext.create_from_config(included))
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(job_image=None, run_launcher=launcher),
        args=["dagster", "api", "execute_run", "{}"],
        job_name="dagster-run-1",
        user_defined_k8s_config=context.run_k8s_config,
    )
    return ApiClient().sanitize_for_serialization(job)


def check_kubernetes(resource: Any) -> None:
    """As an API server that is strict."""
    import kubernetes_validate

    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
def test_the_job_of_a_run_is_one_of_kubernetes(tmp_path: Path) -> None:
    """With what our tags and the chart's values say."""
    job = job_of(values(), tags(), tmp_path)
    check_kubernetes(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert {source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source} == {"mmmeta"}
    assert {"name": "archive", "mountPath": "/archive"} in container["volumeMounts"]
    assert pod["nodeSelector"] == {"mmmeta/archive": "true"}
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["securityContext"]["fsGroup"] == 1000
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "path",
    [
        ("container_config",),
        ("container_config", "resources"),
        ("container_config", "resources", "limits"),
        ("pod_spec_config", "termination_grace_period_seconds"),
        ("job_spec_config", "ttl_seconds_after_finished"),
    ],
)
def test_a_misspelt_key_of_the_tags_is_told(path: tuple[str, ...], tmp_path: Path) -> None:
    """Kubernetes itself would drop some of these without a word."""
    known = load_project(DEPLOY / "mmmeta.yaml").metadirs["archive"].run_tags
    wrong = misspelt(known, "dagster-k8s/config", *path)
    with pytest.raises(Exception, match=f"(?i){path[-1].replace('_', '_?')}{path[-1][-1]}"):
        check_kubernetes(job_of(values(), tags(wrong), tmp_path))


@WITH_TOOLS
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "path",
    [
        ("podSpecConfig", "nodeSelector"),
        ("podSpecConfig", "securityContext", "fsGroup"),
        ("jobSpecConfig", "ttlSecondsAfterFinished"),
    ],
)
def test_a_misspelt_key_of_what_every_run_gets_is_told(path: tuple[str, ...], tmp_path: Path) -> None:
    """The chart and Dagster's instance hand it on unread."""
    wrong = misspelt(values(), "runLauncher", "config", "k8sRunLauncher", "runK8sConfig", *path)
    key = re.sub("[A-Z]", lambda found: f"_?{found[0]}", path[-1])
    with pytest.raises(Exception, match=f"(?i){key}{key[-1]}"):
        check_kubernetes(job_of(wrong, tags(), tmp_path))


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


def archive_resources() -> list[Any]:
    return list(yaml.safe_load_all((KUBERNETES / "archive.yaml").read_text(encoding="utf-8")))


@WITH_TOOLS
def test_the_volume_and_the_sync_are_of_kubernetes() -> None:
    """A strict API server takes them, and no misspelt ones; the volume is the one that the values name."""
    import kubernetes_validate

    claim, cron = archive_resources()
    for resource in (claim, cron):
        check_kubernetes(resource)
    wrong: list[Callable[[], Any]] = [
        lambda: misspelt(claim, "spec", "accessModes"),
        lambda: misspelt(cron, "spec", "concurrencyPolicy"),
        lambda: misspelt(cron, "spec", "jobTemplate", "spec", "template", "spec", "containers", 0, "envFrom"),
    ]
    for make in wrong:
        with pytest.raises(kubernetes_validate.ValidationError):
            check_kubernetes(make())
    (deployment,) = values()["dagster-user-deployments"]["deployments"]
    (volume,) = deployment["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == deployment["nodeSelector"]
