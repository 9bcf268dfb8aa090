"""What a person sees: Dagster's own UI in a real browser, on an archive that the sensor keeps imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from browser import Browser, browsing
from deployment import Deployment, deployed
from small_archive import ACTIONS, Archive

from mmmeta_dagster import keys

pytestmark = pytest.mark.browser

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    sensor: {interval: 2}
    jobs:
      download_contracts:
        where: {document_type: contract}
        download: {to: ./downloads, name: "{_file_name}"}
      load_all:
        load: {to: "sqlite:///loaded.db", table: documents}
      look:
        where: {document_type: letter}
        call: {function: "dagster_test_actions:look"}
        attempts: 1
"""

LOCATION = "mmmeta_dagster.definitions"


@dataclass
class Seen:
    """A browser on a deployment that has imported three times."""

    browser: Browser
    runs: list[dg.DagsterRun]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Three publications, each with more: 12 contracts, 4 letters of which one cannot be read; then 3 and 2 contracts."""
    root = tmp_path_factory.mktemp("browser")
    archive = Archive(root)
    archive.configure(PROJECT)
    (root / "dagster_test_actions.py").write_text(ACTIONS)
    archive.fail("letter2.txt")
    for number in range(4):
        archive.write(f"letter{number}", "letter", public_url=f"https://example.org/letters/{number}")
    pictures = Path(os.environ.get("MMMETA_SHOTS") or root / "pictures")
    first = 0
    with deployed(root) as deployment, browsing(deployment.url, root, pictures) as browser:
        for so_many in (12, 3, 2):
            for number in range(first, first + so_many):
                archive.write(f"contract{number}", "contract", pages=number)
            first += so_many
            runs = len(deployment.runs("archive"))
            archive.publish()
            deployment.until(lambda: len(_succeeded(deployment)) > runs, seconds=120)  # noqa: B023
        deployment.until(
            lambda: deployment.skips("archive")[:1] and deployment.skips("archive")[0].startswith("Nothing")
        )
        yield Seen(browser, _succeeded(deployment))


def test_the_asset_graph(seen: Seen) -> None:
    """The two databases and a box for each job, with their checks and kinds."""
    seen.browser.open("/asset-groups", "metadata_db", "state_db", "download_contracts", "load_all", "look", "SQLite")
    seen.browser.picture("graph")


def test_the_page_of_an_asset_has_what_it_did_and_plots_it(seen: Seen) -> None:
    """In words, in numbers, over time."""
    page = "/assets/archive/download_contracts"
    seen.browser.open(f"{page}?view=overview", "Downloads documents to", "document_type", "2 files done")
    seen.browser.picture("asset")
    seen.browser.click("Plots")
    seen.browser.shows("bytes per second", "done in all")
    seen.browser.picture("asset-plots")


def test_the_page_of_an_asset_names_what_failed(seen: Seen) -> None:
    """The table of failures."""
    seen.browser.open("/assets/archive/look?view=events")
    seen.browser.picture("failures")


def test_the_checks_of_an_asset(seen: Seen) -> None:
    """What is dead is named, with the command that mends it."""
    seen.browser.open("/assets/archive/look?view=checks", keys.CHECK_DEAD, keys.CHECK_LAG)
    seen.browser.picture("checks")


def test_the_page_of_the_state_db_lists_the_keys_that_files_have(seen: Seen) -> None:
    """With their types."""
    seen.browser.open("/assets/archive/state_db?view=overview", "content_hash", "document_type", "pages")
    seen.browser.picture("state-db")


def test_the_page_of_the_sensor_says_why_it_asks_and_why_not(seen: Seen) -> None:
    """Its reasons stand beside its ticks."""
    seen.browser.open(f"/locations/{LOCATION}/sensors/{keys.remote_sensor('archive')}", "Asks for archive_import")
    seen.browser.picture("sensor")


def test_the_page_of_a_run(seen: Seen) -> None:
    """All steps, each with what it did."""
    seen.browser.open(f"/runs/{seen.runs[0].run_id}", "archive__state_db", "archive__look", "Success")
    seen.browser.picture("run")


def _succeeded(deployment: Deployment) -> list[dg.DagsterRun]:
    runs = deployment.runs("archive")
    assert not [run for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
    return [run for run in runs if run.is_success]
