"""examples/deploy/kubernetes: what the chart, the run launcher and the cluster get is what they take, and nothing misspelt.

What needs Dagster's library for Kubernetes, and strict schemas, runs by `make test-deploy`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import DEPLOY, KUBERNETES, WITH_TOOLS, misspelt, read

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
    """Keys as the chart hands them on to the launcher."""
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in tree.items()}


def job_of(values: Any, tags: Mapping[str, str], folder: Path) -> Any:
    """The Job that dagster-k8s builds for a run, as the API server gets it."""
    import dagster as dg
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "a", "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    told = snake(values["runLauncher"]["config"]["k8sRunLauncher"])
    told["run_k8s_config"] = snake(told["run_k8s_config"])
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    launcher = K8sRunLauncher(
        service_account_name="dagster",
        instance_config_map="dagster-instance",
        postgres_password_secret=values["global"]["postgresqlSecretName"],
        dagster_home="/opt/dagster",
        job_image="{repository}:{tag}".format(**deployment["image"]),
        load_incluster_config=False,
        kubeconfig_file=str(folder / "kubeconfig"),
        **told,
    )
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


CHART: Any = {
    "global": {"postgresqlSecretName": str},
    "generatePostgresqlPasswordSecret": bool,
    "postgresql": {"enabled": bool, "postgresqlHost": str, "postgresqlUsername": str, "postgresqlDatabase": str},
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


def test_the_chart_knows_every_value() -> None:
    """And a misspelt one is none that it knows."""
    assert list(strangers(values(), CHART)) == []
    wrong = misspelt(values(), "runLauncher", "config", "k8sRunLauncher", "failPodOnRunFailure")
    assert list(strangers(wrong, CHART)) == ["/runLauncher/config/k8sRunLauncher/failPodOnRunFailuree"]


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
