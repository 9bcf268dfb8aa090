"""What is in examples/deploy, for tests that change a key of it; see ``tests/deploy``."""

from __future__ import annotations

import copy
import os
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
