"""examples/deploy/kubernetes: what the run launcher and the cluster get is what they take, and nothing misspelt.

What needs Dagster's library for Kubernetes, and strict schemas, runs by `make test-deploy`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import DEPLOY, KUBERNETES, WITH_TOOLS, check_kubernetes, launcher_of, misspelt, values

from mmmeta.project import load_project


def tags(tree: Any = None) -> dict[str, str]:
    """The tags that a run of ours has, of the project file or a changed one."""
    from mmmeta_dagster.location import build_definitions

    project = load_project(DEPLOY / "mmmeta.yaml")
    metadirs = project.metadirs
    if tree is not None:
        metadirs = {"archive": metadirs["archive"].model_copy(update={"run_tags": tree})}
    return dict(build_definitions(metadirs=metadirs).resolve_job_def("archive_import").tags)


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
