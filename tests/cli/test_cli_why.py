"""why: one file and one job."""

from __future__ import annotations

from pathlib import Path

from cli_support import Run, lines


def test_why(ran: Path, run: Run) -> None:
    """Selected or not, by which condition not, and what happened."""
    text = run("why", "b2", "contracts").stdout
    assert "b2: never selected" in text
    assert 'does not hold: document_type is "contract". The file has document_type: "report".' in text
    assert "a1: done" in run("why", "a1", "archive/contracts").stdout
    failed = run("why", "b2", "everything").stdout
    assert "failed 1 of 5 times" in failed
    assert "no reports here" in failed
    (report,) = lines(run("why", "b2", "contracts", "--json").stdout)
    assert report["selected"] is False
    assert report["unmet"] == [
        {"condition": 'document_type is "contract"', "actual": 'The file has document_type: "report"'}
    ]
    assert "b2: never selected" in run("why", "b", "contracts").stdout
    assert "Did you mean 'b2'" in run("why", "b22", "contracts", code=1).stderr
    assert "Did you mean 'contracts'" in run("why", "b2", "contract", code=2).stderr
