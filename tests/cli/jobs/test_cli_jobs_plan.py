"""jobs plan: what a run would do, and what a changed definition changes."""

from __future__ import annotations

from pathlib import Path

from cli_support import PROJECT, Run, kept, lines, sync, write

from mmmeta import mmmeta


def test_a_plan_shows_a_changed_definition_before_it_counts(ran: Path, run: Run) -> None:
    """How many become eligible, how many no longer are, what lacks a key; nothing is written."""
    ran.write_text(PROJECT.replace("document_type: contract", "pages: {'>=': 12}, tags: {'!=': null}"))
    before = kept(ran.parent / "client")
    text = run("jobs", "plan", "contracts").stdout
    assert text.startswith("archive/contracts: would process 1 file (11 bytes)\n")
    assert (
        "changed since it was last evaluated: 1 file newly eligible, 2 no longer, 2 of them done; what is done stays done"
        in text
    )
    assert "selection: pages is at least 12 and tags is given" in text
    (plan,) = lines(run("jobs", "plan", "contracts", "--json").stdout)
    assert (plan["job"], plan["files"], plan["newly_selected"], plan["changed"]) == ("contracts", 1, 1, True)
    assert kept(ran.parent / "client") == before


def test_a_plan_shows_another_action(ran: Path, run: Run) -> None:
    """What is done stays done, and how to do it again; a function that is not there is named before the run."""
    assert "changed" not in run("jobs", "plan").stdout
    ran.write_text(
        PROJECT.replace("document_type: contract", "document_type: report").replace("backoff: 1h", "backoff: 2h")
    )
    text = run("jobs", "plan").stdout
    assert text.count("the action, its target or a rule changed") == 1
    assert "`mmmeta jobs forget archive/everything`" in text
    ran.write_text(PROJECT.replace("cli_sample:remember", "cli_sample:rememember"))
    text = run("jobs", "plan", "contracts", code=1).stdout
    assert "the action, its target or a rule changed: what is done stays done" in text
    assert "cannot run: job 'contracts': 'cli_sample' has no function 'rememember'. Did you mean 'remember'?" in text
    (plan,) = lines(run("jobs", "plan", "contracts", "--json", code=1).stdout)
    assert (plan["changed"], plan["redefined"], plan["left_done"]) == (False, True, 0)


def test_a_plan_names_what_the_selection_cannot_be_compared_with(
    server: Path, client: Path, project: Path, run: Run
) -> None:
    """In a sentence and for programs."""
    for name, value in (("d4", "05.04.2024"), ("e5", "x" * 100), ("f6", "2024-05-01")):
        write(server, f"{name}.json", {"content_hash": name, "at": value})
    with mmmeta(server) as m:
        m.generate()
    sync(server, client)
    project.write_text(PROJECT.replace("document_type: contract", "at: {'>=': 2024-01-01}"))
    run("update")
    told = run("jobs", "plan", "contracts").stdout
    assert "would process 1 file" in told
    assert "  no at: 3 files cannot match\n" in told
    assert f'  at is no date: 2 files cannot match, such as d4: "05.04.2024", e5: "{"x" * 38}…\n' in told
    (plan,) = lines(run("jobs", "plan", "contracts", "--json").stdout)
    assert plan["mismatched"] == [
        {"key": "at", "what": "is no date", "files": 2, "such_as": {"d4": "05.04.2024", "e5": "x" * 100}}
    ]
    assert '05.04.2024", which is no date.' in run("why", "d4", "contracts").stdout
