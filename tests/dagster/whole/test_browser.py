"""What a person sees: Dagster's own UI in a real browser, on an archive that the sensor keeps imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from browser import WIDTH, Browser, browsing
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

NOTHING = (
    "Nothing to do: revision 3 is merged; download_contracts: 17 done; load_all: 23 done; look: 4 done, 2 dead, "
    "waiting for a person."
)
"""What the sensor says at the end."""

LOCATION = "mmmeta_dagster.definitions"


@dataclass
class Seen:
    """A browser on a deployment that has imported three times."""

    browser: Browser
    runs: list[dg.DagsterRun]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Three publications: 12 contracts and 4 letters, 3 contracts, 2 and 2 again; two of the letters cannot be read."""
    root = tmp_path_factory.mktemp("browser")
    archive = Archive(root)
    archive.configure(PROJECT)
    (root / "dagster_test_actions.py").write_text(ACTIONS)
    archive.fail("letter2.txt", "letter5.txt")
    pictures = Path(os.environ.get("MMMETA_SHOTS") or root / "pictures")
    with deployed(root) as deployment, browsing(deployment.url, root, pictures) as browser:
        for contracts, letters in ((range(12), range(4)), (range(12, 15), range(0)), (range(15, 17), range(4, 6))):
            for number in contracts:
                archive.write(f"contract{number}", "contract", pages=number)
            for number in letters:
                archive.write(f"letter{number}", "letter", public_url=f"https://example.org/letters/{number}")
            before = len(_succeeded(deployment))
            archive.publish()
            deployment.until(lambda: len(_succeeded(deployment)) > before, seconds=120)  # noqa: B023
        deployment.until(lambda: deployment.skips("archive")[:1] == [NOTHING])
        yield Seen(browser, _succeeded(deployment))


def test_the_asset_graph(seen: Seen) -> None:
    """The two databases and a box for each job, with their checks and kinds."""
    seen.browser.resize(1500)
    seen.browser.open("/asset-groups", "metadata_db", "state_db", "download_contracts", "load_all", "look", "SQLite")
    seen.browser.picture("graph")
    seen.browser.resize(WIDTH)


def test_the_page_of_an_asset_has_what_it_did_and_plots_it(seen: Seen) -> None:
    """In words, in numbers, over time."""
    page = "/assets/archive/download_contracts"
    seen.browser.open(f"{page}?view=overview", "Downloads documents to", "document_type", "2 files done")
    seen.browser.picture("asset")
    seen.browser.click("Plots")
    seen.browser.shows("bytes per second", "done in all")
    seen.browser.picture("asset-plots")


def test_the_page_of_an_asset_names_what_failed(seen: Seen) -> None:
    """In a table, with links to the documents."""
    summary = "1 file done, 1 dead; 2 dead in all, waiting for a person"
    text = seen.browser.open("/assets/archive/look?view=events", summary, "ValueError: cannot read | letter5.txt")
    assert "| ---" not in text  # a table, not its Markdown
    seen.browser.picture("failures")


def test_the_page_of_an_asset_says_first_what_is_wrong(seen: Seen) -> None:
    """Sentence, reason, count, example and command stand there unfolded, above all numbers, within the window's width."""
    order = [
        "2 dead in all, waiting for a person: mend the cause, then retry",
        "ValueError: cannot read | letter5.txt; e.g. letter5.txt",
        *("jobs failed look", "jobs retry --dead look", "duration (seconds)"),
    ]
    text = seen.browser.open("/assets/archive/look?view=overview", *order)
    places = [text.index(words) for words in order]
    assert sorted(places) == places
    assert "[Show Markdown]" not in text[: places[-1]]
    assert not seen.browser.scrolls_sideways()
    seen.browser.picture("dead")


def test_the_checks_of_an_asset(seen: Seen) -> None:
    """What is dead is named, with the command that mends it."""
    seen.browser.open("/assets/archive/look?view=checks", keys.CHECK_FAILURES, keys.CHECK_LAG)
    seen.browser.click(keys.CHECK_DEAD)
    seen.browser.shows("2 files are dead, waiting for a person", "jobs retry --dead look")
    seen.browser.picture("checks")


def test_the_page_of_the_state_db_lists_the_keys_that_files_have(seen: Seen) -> None:
    """With their types."""
    seen.browser.open(
        "/assets/archive/state_db?view=overview", "content_hash", "document_type", "pages", "revision before"
    )
    seen.browser.picture("state-db")


def test_the_page_of_the_sensor_says_why_it_asks_and_why_not(seen: Seen) -> None:
    """Its reasons stand beside its ticks."""
    name = keys.remote_sensor("archive")
    seen.browser.open(f"/locations/{LOCATION}/sensors/{name}", "Asks for archive_import", "1 run requested")
    seen.browser.picture("sensor")
    # The first two are the state of the last tick; this leads to what it said.
    seen.browser.click("0 runs requested", number=2)
    seen.browser.shows(NOTHING)
    seen.browser.picture("sensor-reason")


def test_the_page_of_a_run(seen: Seen) -> None:
    """All steps, each with what it did."""
    seen.browser.open(
        f"/runs/{seen.runs[0].run_id}", "archive_import", "Success", "4 assets", "16 checks", "RUN_SUCCESS"
    )
    seen.browser.picture("run")


def test_the_list_of_runs_says_why_each_was_asked_for(seen: Seen) -> None:
    """The reason is a tag."""
    seen.browser.open("/runs", "archive_import", "nothing was merged yet")
    seen.browser.picture("runs")


def test_the_list_of_jobs(seen: Seen) -> None:
    """Each with the sensor that asks for it."""
    seen.browser.open("/jobs", "archive_import", "archive_update", "archive_checks", "archive_look")
    seen.browser.picture("jobs")
    seen.browser.open(f"/locations/{LOCATION}/jobs/archive_import", "archive_import", "Updates the state db")
    seen.browser.picture("job")


def _succeeded(deployment: Deployment) -> list[dg.DagsterRun]:
    runs = deployment.runs("archive")
    assert not [run for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
    return [run for run in runs if run.is_success]
