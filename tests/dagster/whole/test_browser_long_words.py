"""Long words in Dagster's UI, paths and titles without a space: they are broken, and make no page wider than the window."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from browser import Browser, browsing
from deployment import deployed
from executing import execute
from small_archive import ACTIONS, Archive

pytestmark = pytest.mark.browser

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    sensor: {enabled: false}
    jobs:
      look:
        where: {document_type: letter}
        call: {function: "dagster_test_actions:look"}
        attempts: 1
      download_letters:
        where: {document_type: letter}
        download: {to: ./downloads, name: "{_file_name}"}
"""

FOLDER = "an_archive_in_a_folder_whose_name_has_some_hundred_letters_and_no_sign_at_which_a_browser_would_break_it"
"""Of the project; it stands in commands and in places."""

TITLE = "Antwort_der_Landesregierung_auf_die_Kleine_Anfrage_zu_Bauvorhaben_in_Gewerbegebieten_ohne_ein_Leerzeichen"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """On an archive in such a folder, of which two of five letters with such titles are dead."""
    short = tmp_path_factory.mktemp("long")
    root = short / FOLDER
    root.mkdir()
    archive = Archive(root)
    archive.configure(PROJECT)
    (root / "dagster_test_actions.py").write_text(ACTIONS)
    archive.fail("letter1.txt", "letter3.txt")
    for number in range(5):
        url = f"https://example.org/{'letters' * 20}/{number}"
        archive.write(f"letter{number}", "letter", public_url=url, title=f"{TITLE}_{number}")
    archive.publish()
    pictures = Path(os.environ.get("MMMETA_SHOTS") or short / "pictures")
    with deployed(root) as deployment, browsing(deployment.url, short, pictures) as opened:
        with dg.DagsterInstance.get() as instance:
            execute(archive, instance)
            execute(archive, instance)
        deployment.until(lambda: answers(deployment.url), seconds=120)
        yield opened


def answers(url: str) -> bool:
    """Whether the web server is up."""
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_page_of_a_job_whose_files_are_dead(browser: Browser) -> None:
    """The numbers of the dead say one thing, above and below."""
    expected = "3 files done, 2 dead; waiting for a person", "jobs retry --dead look", "duration (seconds)"
    text = browser.open("/assets/archive/look?view=overview", *expected)
    browser.picture("long-dead")
    assert re.search(r"\ndead\s+\S[^\n]*M\s+2\n", text)
    assert not browser.scrolls_sideways()


def test_the_page_of_a_download(browser: Browser) -> None:
    """Its table of files has names, titles and addresses."""
    browser.open("/assets/archive/download_letters?view=overview", "see more", "5 files done")
    browser.picture("long-download")
    assert not browser.scrolls_sideways()


def test_the_events_of_a_job(browser: Browser) -> None:
    """As its page. The last run had nothing to do, and says how many are dead all the same."""
    expected = "nothing was pending; 2 dead, waiting for a person", "jobs retry --dead look"
    text = browser.open("/assets/archive/look?view=events", *expected)
    browser.picture("long-events")
    assert re.search(r"\ndead\s+2\n", text)
    assert not browser.scrolls_sideways()
