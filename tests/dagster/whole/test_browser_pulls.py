"""The whole chain in a real `dagster dev`, from an empty disk: published at the remote, pulled, imported; and how that looks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from browser import WIDTH, Browser, browsing
from deployment import Deployment, deployed
from pulling import break_remote, generate, mend_remote, pull_from
from small_archive import ACTIONS, Archive

from mmmeta_dagster import keys

pytestmark = pytest.mark.browser

LOCATION = "mmmeta_dagster.definitions"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Two publications that were pulled, between them one that could not be at first."""
    root = tmp_path_factory.mktemp("browser_pulls")
    archive = Archive(root)
    pull_from(archive)
    (root / "dagster_test_actions.py").write_text(ACTIONS)
    pictures = Path(os.environ.get("MMMETA_SHOTS") or root / "pictures")
    with deployed(root) as deployment, browsing(deployment.url, root, pictures) as browser:
        generate(archive, "contract0", "contract1")
        deployment.until(lambda: len(_ended(deployment, dg.DagsterRunStatus.SUCCESS)) == 1, seconds=300)
        generate(archive, "contract2")
        aside = break_remote(archive)  # a run begins seconds later
        deployment.until(lambda: _ended(deployment, dg.DagsterRunStatus.FAILURE), seconds=300)
        deployment.until(lambda: any(f"{aside.name}: is not there" in said for said in deployment.skips("archive")))
        mend_remote(archive, aside)
        deployment.until(lambda: len(_ended(deployment, dg.DagsterRunStatus.SUCCESS)) == 2, seconds=300)
        deployment.until(lambda: deployment.skips("archive")[0].startswith("Nothing to do: revision 2 is merged"))
        assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]
        yield browser


def _ended(deployment: Deployment, status: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
    return [run for run in deployment.runs("archive") if run.status is status]


def test_the_asset_graph(seen: Browser) -> None:
    """The asset stands before what it brings."""
    seen.resize(1500)
    seen.open("/asset-groups", "synced", "metadata_db", "state_db", "download_contracts", "load_all", "look")
    seen.picture("graph-pulls")
    seen.resize(WIDTH)


def test_the_page_of_the_asset_has_what_was_moved(seen: Browser) -> None:
    """In words, in numbers, over time."""
    seen.open(
        "/assets/archive/synced?view=overview",
        *("Brings the metadir here from", "revision 2 was pulled from", "files moved", "size (bytes)"),
    )
    seen.picture("synced")
    seen.click("Plots")
    seen.shows("files moved", "size (bytes)")
    seen.picture("synced-plots")


def test_the_page_of_the_sensor(seen: Browser) -> None:
    """It says that it looks at the remote."""
    name = keys.remote_sensor("archive")
    seen.open(f"/locations/{LOCATION}/sensors/{name}", "Asks for archive_import", "there and not only here")
    seen.picture("sensor-pulls")
