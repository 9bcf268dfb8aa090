"""A real Chromium without a window, for the tests that look at Dagster's UI."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDTH, HEIGHT = 1280, 1400
"""A small laptop's width: what a person looks for has to be readable there."""

TROUBLE = ("Failed to load", "An error occurred", "Unexpected error", "GraphQL error", "Something went wrong")
"""What no page of the UI may show."""


class Browser:
    """One window on a running Dagster. Every page it opens is kept as a picture."""

    def __init__(self, driver: Any, url: str, pictures: Path) -> None:
        self._driver = driver
        self._url = url
        self._pictures = pictures

    def open(self, path: str, *expected: str, seconds: float = 60) -> str:
        """Go to a page; give its text once it shows all that is expected, and no trouble."""
        self._driver.get(self._url + path)
        return self.shows(*expected, seconds=seconds)

    def shows(self, *expected: str, seconds: float = 60) -> str:
        """The text of the page once it shows all that is expected."""
        end = time.monotonic() + seconds
        while missing := [words for words in expected if words not in (text := self.text())]:
            assert time.monotonic() < end, f"{self._driver.current_url} does not show {missing}. It shows:\n{text}"
            self._close_dialog()
            time.sleep(0.2)
        self._close_dialog()
        text = self.text()
        assert not [words for words in TROUBLE if words.lower() in text.lower()], text
        return text

    def text(self) -> str:
        """What a reader sees; the text of a page that is just being drawn anew is empty."""
        return str(self._driver.execute_script("return document.body ? document.body.innerText : ''"))

    def resize(self, width: int) -> None:
        """Make the window this wide; the graph leaves out what has no room."""
        self._driver.set_window_size(width, HEIGHT)

    def scrolls_sideways(self) -> bool:
        """Whether anything on the page is wider than the room that it has, and scrolls."""
        wider = (
            "return [...document.querySelectorAll('*')].some(one => one.scrollWidth > one.clientWidth + 1 "
            "&& ['auto', 'scroll'].includes(getComputedStyle(one).overflowX))"
        )
        return bool(self._driver.execute_script(wider))

    def click(self, words: str, *, number: int = 0) -> None:
        """Click on what has exactly these words; where several have, on this one, counted from 0."""
        found = self._found(words)
        assert len(found) > number, f"{self._driver.current_url} has no {words!r} to click on. It shows:\n{self.text()}"
        self._driver.execute_script("arguments[0].click()", found[number])

    def picture(self, name: str) -> None:
        """Keep what is seen now, once it has stood still: charts and graphs move into their place."""
        before, now = b"", self._driver.get_screenshot_as_png()
        end = time.monotonic() + 10
        while before != now and time.monotonic() < end:
            self._close_dialog()  # it may come a moment after the page
            time.sleep(0.5)
            before, now = now, self._driver.get_screenshot_as_png()
        self._pictures.mkdir(parents=True, exist_ok=True)
        (self._pictures / f"{name}.png").write_bytes(now)

    def _found(self, words: str) -> list[Any]:
        return list(self._driver.find_elements("xpath", f"//*[normalize-space(text())='{words}']"))

    def _close_dialog(self) -> None:
        """A fresh instance covers its UI with an invitation to Dagster's community."""
        if "Join the Dagster" in self.text() and self._found("Skip"):
            self.click("Skip")


@contextmanager
def browsing(url: str, folder: Path, pictures: Path) -> Iterator[Browser]:
    """Start Chromium, and stop it. Where there is none: a failure in CI, elsewhere a skip."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "Chromium and its driver are needed here (Debian: apt install chromium chromium-driver)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    # Here, because the tests with other versions of Dagster do without it.
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'chromium'}", f"--window-size={WIDTH},{HEIGHT}"),
    ):
        options.add_argument(option)
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        window.set_page_load_timeout(90)
        yield Browser(window, url, pictures)
    finally:
        window.quit()
