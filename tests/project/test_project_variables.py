"""Variables and other files that a project file needs: what is missing is named, and what it holds is not shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_mistakes import BASE, A, J, failure

SECRET = "postgresql://user:hunter2@host/db"


def test_every_unset_variable_is_told_with_its_line(tmp_path: Path) -> None:
    """A deployment lacks all of them, not one."""
    text = BASE.replace("sqlite:///x.db", "{{ env.DB_URL }}").replace("./client", "'{{ env.HERE }}/{{ env.THERE }}'")
    error = failure(tmp_path, text, several=True)
    path = tmp_path / "mmmeta.yaml"
    assert [line.partition(" is not set")[0] for line in str(error).splitlines()] == [
        f"{path}:4: {A}.path: the environment variable HERE",
        f"{path}:4: {A}.path: the environment variable THERE",
        f"{path}:22: {J}.recent.load.to: the environment variable DB_URL",
    ]


def test_an_unset_variable_does_not_hide_other_mistakes(tmp_path: Path) -> None:
    """Everything is told in one go, and nothing that only follows from the variable."""
    text = BASE.replace("interval: 30", "interval: '{{ env.SECONDS }}'").replace("attempts: 5", "atempts: 5")
    error = failure(tmp_path, text.replace("10GB", "much").replace("a: b", "a: '{{ env.TAG }}'"), several=True)
    told = [line.split(": ")[1] for line in str(error).splitlines()]
    assert told == [f"{A}.sensor.interval", f"{J}.recent.limit.bytes", f"{J}.extract.atempts", f"{J}.extract.tags.a"]


def test_what_a_variable_holds_is_not_shown_in_any_line(tmp_path: Path) -> None:
    """Not in the first, not in those after it."""
    text = BASE.replace("a.b:c", "{{ env.DB_URL }}").replace(
        "table: documents", "table: '{{ env.DB_URL }}/{{ env.DB_URL }}'"
    )
    error = failure(tmp_path, text, {"DB_URL": SECRET}, several=True)
    assert len(str(error).splitlines()) == 2
    assert "hunter2" not in f"{error} {error!r}"


def test_an_unset_variable_names_line_and_near_misses(tmp_path: Path) -> None:
    """Also inside of lists and below flow mappings."""
    text = BASE.replace("sqlite:///x.db", "{{ env.DB_URI }}")
    error = failure(tmp_path, text, {"DB_URL": "x"})
    assert (error.line, error.key) == (22, f"{J}.recent.load.to")
    assert "DB_URI is not set. Did you mean 'DB_URL'?" in error.reason
    assert '{{ env.DB_URI | default("…") }}' in error.reason
    error = failure(tmp_path, BASE.replace("- team:data", "- team:data\n          - '{{ env.X }}'"))
    assert (error.line, error.key) == (28, f"{J}.recent.owners[1]")


@pytest.mark.parametrize("expression", ["{{ DB_URL }}", "{{ env.a-b }}", "{{ env.X | upper }}", "{{", "{{ env.X }"])
def test_other_expressions_are_refused(tmp_path: Path, expression: str) -> None:
    """There is no template language here."""
    error = failure(tmp_path, BASE.replace("./client", f"'{expression}'"), {"X": "x"})
    assert error.line == 4
    assert "There are {{ env.NAME }}" in error.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("backoff: 1m", "backoff: '{{ env.DB_URL }}'"),
        ("attempts: 5", "attempts: '{{ env.DB_URL }}'"),
        ("rerun_on: content", "rerun_on: '{{ env.DB_URL }}'"),
        ("a.b:c", "{{ env.DB_URL }}"),
        ("path: ./client", "path: '{{ env.DB_URL }}'"),
        ("state: state.db", "state: 'x{{ env.DB_URL }}'"),
        ("*/15 * * * *", "{{ env.DB_URL }}"),
        ("- team:data", "- '{{ env.DB_URL }}'"),
        ("like: ", 'lik: "{{ env.DB_URL }}" #'),
        ("{_file_name}", "/{{ env.DB_URL }}"),
        ("table: documents", "table: '{{ env.DB_URL }}{{ env.DB_URL }}'"),
    ],
)
def test_what_a_variable_holds_is_not_shown(tmp_path: Path, old: str, new: str) -> None:
    """A password that landed in the wrong place must not land in a log as well."""
    error = failure(tmp_path, BASE.replace(old, new, 1), {"DB_URL": SECRET})
    assert "hunter2" not in str(error)
    assert "hunter2" not in repr(error)
    # What Python would print below "During handling of …" has to be silent about it, too.
    assert error.__suppress_context__
