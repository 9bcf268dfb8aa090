"""Dates as people write them, kept as ISO text."""

from __future__ import annotations

import os
from typing import Any

import pytest
from archives import Archive

from mmmeta.metadata.generate.dates import Dates

CONFIG = """\
dates:
  date: ["%d.%m.%Y", "%Y%m%d", "%d %B %Y"]
  "publisher:since": ["%d/%m/%y"]
"""


def configure(archive: Archive, text: str) -> None:
    """Write config.yml."""
    metadir = archive.server_path / "_mmmeta"
    metadir.mkdir(exist_ok=True)
    (metadir / "config.yml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("form", "value", "kept"),
    [
        ("%d.%m.%Y", "01.03.2026", "2026-03-01"),
        ("%d.%m.%Y", "1.3.2026", "2026-03-01"),
        ("%d.%m.%Y", " 1.3.2026\n", "2026-03-01"),
        ("%Y%m%d", "20260301", "2026-03-01"),
        ("%Y%m%d", 20260301, "2026-03-01"),
        ("%d/%m/%y", "01/03/68", "2068-03-01"),
        ("%d/%m/%y", "01/03/69", "1969-03-01"),
        ("%A, %d. %B %Y", "sunday, 1. march 2026", "2026-03-01"),
        ("%d.%m.%Y %H:%M", "01.03.2026 08:05", "2026-03-01T08:05:00"),
        ("%d.%m.%Y %I:%M %p", "01.03.2026 08:05 PM", "2026-03-01T20:05:00"),
        ("%d.%m.%Y %H:%M:%S.%f", "01.03.2026 08:05:06.5", "2026-03-01T08:05:06.500000"),
        ("%d.%m.%Y %H:%M %z", "01.03.2026 08:05 +0100", "2026-03-01T08:05:00+01:00"),
        ("%d.%m.%Y %H:%M%z", "01.03.2026 08:05Z", "2026-03-01T08:05:00+00:00"),
        ("%a, %d %b %Y %H:%M:%S GMT", "Sun, 01 Mar 2026 08:05:06 GMT", "2026-03-01T08:05:06"),
        ("%j/%Y", "060/2026", "2026-03-01"),
        ("%j/%Y", "60/2026", "2026-03-01"),
        ("%G-W%V-%u", "2026-W09-7", "2026-03-01"),
        ("%G-W%V-%u", "2020-W53-5", "2021-01-01"),
        ("%GW%V%u", "2026W097", "2026-03-01"),
        ("%a, week %V of %G", "Sun, week 9 of 2026", "2026-03-01"),
        ("%d.%m.%Y", "2026-03-01", "2026-03-01"),
        ("%d.%m.%Y", "2026-03-01T08:05:00.25Z", "2026-03-01T08:05:00.25Z"),
        ("%d.%m.%Y", "2026-03-01 08:05", "2026-03-01 08:05"),
        ("%d.%m.%Y", ["01.03.2026", "2026-03-02", None], ["2026-03-01", "2026-03-02", None]),
        ("%d.%m.%Y", [], []),
        ("%d.%m.%Y", None, None),
        ("%d.%m.%Y", "", ""),
    ],
)
def test_what_fits_is_kept_as_iso_text(form: str, value: Any, kept: Any) -> None:
    """A date as a date, a time as a moment; what is ISO text stays."""
    values = {"x": value, "other": "01.03.2026"}
    assert list(Dates({"x": [form]}).apply(values)) == []
    assert values == {"x": kept, "other": "01.03.2026"}


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("%d.%m.%Y", "31.02.2026"),
        ("%d.%m.%Y", "01.03.2026 and more"),
        ("%d.%m.%Y", "2026-02-31"),
        ("%d.%m.%Y", "2026-03-01T25:00"),
        ("%d.%m.%Y", "March"),
        ("%j/%Y", "366/2026"),
        ("%G-W%V-%u", "2021-W53-1"),
        ("%GW%V%u", "2026W97"),
        ("%Y%m%d", "2026111"),
        ("%d%m%Y", 1032026),
        ("%d.%m.%Y", True),
        ("%d.%m.%Y", 1.5),
        ("%d.%m.%Y", {}),
        ("%d.%m.%Y", [{"a": 1}]),
        ("%d.%m.%Y", ["x" * 500, 3]),
    ],
)
def test_what_fits_no_format_stays_and_is_named(form: str, value: Any) -> None:
    """With the formats that were tried."""
    values = {"x": value}
    ((key, reason),) = Dates({"x": [form]}).apply(values)
    assert (values, key) == ({"x": value}, "x")
    assert form in reason
    assert len(reason) < 250


def test_generate_keeps_iso_text_and_names_the_rest(archive: Archive) -> None:
    """The file goes in all the same; it is named again as long as it is so."""
    configure(archive, CONFIG)
    for name in ("a", "b", "c"):
        path = archive.write(name, {"date": {"a": "01.03.2026", "b": "spring", "c": "2 March 2026"}[name]})
        os.utime(path, (1, 1))
    archive.write("d", {"publisher": {"since": "01/02/99"}, "date": ["20260301"]})
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (4, 1)
    (problem,) = report.problems
    assert (problem.source, problem.key) == ("b.json", "date")
    assert "'spring'" in str(problem)
    kept = {file.unique_value: file["date"] for file in archive.server.files}
    assert kept == {"a": "2026-03-01", "b": "spring", "c": "2026-03-02", "d": ["2026-03-01"]}
    assert [file.unique_value for file in archive.server.files.find({"publisher:since": "1999-02-01"})] == ["d"]
    report = archive.server.generate(ensure=True)
    assert (report.problem_count, report.unchanged, report.revision) == (1, 4, 1)


def test_other_formats_mean_that_everything_is_read_again(archive: Archive) -> None:
    """Although no metadata file changed."""
    os.utime(archive.write("a", date="01.03.2026"), (1, 1))
    archive.server.generate()
    archive.server.generate()
    configure(archive, CONFIG)
    assert archive.server.generate().changed == 1
    configure(archive, "{}")
    assert archive.server.generate().changed == 1


def test_keys_that_are_not_kept_are_not_looked_at(archive: Archive) -> None:
    """Nobody wants to hear of them."""
    configure(archive, CONFIG + "metadata: {exclude: [date]}")
    archive.write("a", date="spring")
    assert archive.server.generate().problem_count == 0


def test_an_heir_is_named_once(archive: Archive) -> None:
    """Though it is read twice, where the metadata file that counted is gone."""
    configure(archive, CONFIG)
    os.utime(archive.write("old", {"content_hash": "x", "date": "spring"}), (1, 1))
    archive.write("new", {"content_hash": "x", "date": "01.03.2026"})
    archive.server.generate()
    archive.remove("new")
    report = archive.server.generate(ensure=True)
    assert (report.changed, report.problem_count) == (1, 1)
