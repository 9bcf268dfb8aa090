"""check: what is wrong is named, and the exit code says so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cli_support import Run, lines


def test_check_finds_what_is_not_as_it_should_be(ran: Path, run: Run) -> None:
    """Exit code 3, and the problems as a table and as JSON; what cannot be looked for is named."""
    result = run("check")
    assert result.stdout.startswith("archive: no problems: compared the cells of 3 files")
    assert "contracts, everything" in result.stderr
    state = ran.parent / "client" / "_mmmeta" / "local" / "state.db"
    connection = sqlite3.connect(state)
    connection.execute("UPDATE files SET title = 'forged' WHERE content_hash = 'a1'")
    connection.commit()
    connection.close()
    broken = run("check", code=3)
    assert "1 problem" in broken.stdout
    assert "a1" in broken.stdout
    (report,) = lines(run("check", "--json", code=3).stdout)
    assert report["problems"] == 1
    named = report["named"]
    assert isinstance(named, list)
    assert named[0]["file"] == "a1"


def test_check_before_the_first_update(client: Path, run: Run) -> None:
    """It says what to do."""
    assert "run `mmmeta update` first" in run("--metadir", client, "check", code=1).stderr


def test_check_names_as_many_as_asked(ran: Path, run: Run) -> None:
    """All are counted."""
    with closing(sqlite3.connect(ran.parent / "client" / "_mmmeta" / "local" / "state.db")) as connection, connection:
        connection.execute("UPDATE files SET title = 'forged'")
    limited = run("check", "--limit", "1", code=3)
    assert "archive: 3 problems" in limited.stdout
    assert "… and 2 more" in limited.stderr
    assert "more" not in run("check", "--limit", "0", code=3).stderr
    (report,) = lines(run("check", "--limit", "2", "--json", code=3).stdout)
    assert (report["problems"], len(report["named"])) == (3, 2)  # type: ignore[arg-type]
