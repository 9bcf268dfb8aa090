"""What is in examples/deploy, for tests that change a key of it, and what is made of it; see ``tests/deploy``."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
DEPLOY = ROOT / "examples" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

SCHEMA = os.environ.get("MMMETA_TEST_DEPLOY", "")
"""The schema of compose files; `make test-deploy` names it, and has the other tools that ``WITH_TOOLS`` needs."""

WITH_TOOLS = pytest.mark.deploy

URLS = {
    "STATE_URL": "postgresql+psycopg://mmmeta:s3cret@db/mmmeta",
    "DB_URL": "postgresql+psycopg://mmmeta:s3cret@db/mmmeta",
    "DAGSTER_PG_URL": "postgresql+psycopg2://mmmeta:s3cret@db/mmmeta",
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stores_a_run(instance: Any) -> bool:
    """Whether what Dagster tells of a run gets into the instance's database, and out of it."""
    import dagster as dg

    @dg.asset
    def looked_at() -> None:
        """Nothing."""

    result = dg.materialize([looked_at], instance=instance)
    key = dg.AssetKey("looked_at")
    return result.success and instance.get_latest_materialization_event(key).run_id == result.run_id


def misspelt(tree: Any, *path: Any) -> Any:
    """A copy in which the key at the end of a path has its last letter twice."""
    changed = copy.deepcopy(tree)
    *above, last = path
    inner = changed
    for step in above:
        inner = inner[step]
    inner[f"{last}{last[-1]}"] = inner.pop(last)
    return changed


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


def check_kubernetes(resource: Any) -> None:
    """As an API server that is strict."""
    import kubernetes_validate

    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
