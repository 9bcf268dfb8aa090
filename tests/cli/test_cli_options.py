"""Options that several verbs take."""

from __future__ import annotations

from pathlib import Path

from cli_support import Run, tree, write


def test_dry_runs_write_nothing(server: Path, client: Path, run: Run) -> None:
    """They say what would happen."""
    write(server, "d4.json", {"content_hash": "d4"})
    before = tree(server), tree(client)
    assert "would be 1 added" in run("--metadir", server, "generate", "--dry-run").stdout
    assert "would be 3 added" in run("--metadir", client, "update", "--dry-run").stdout
    for words in (("set", "a", "1"), ("touch", "a"), ("delete", "remote_revision")):
        assert "would be" in run("--metadir", server, "store", *words, "--dry-run").stdout
    assert (tree(server), tree(client)) == before


def test_a_path_that_was_copied_from_a_page_with_its_breaks_is_the_path(client: Path, run: Run) -> None:
    """Dagster's UI shows long ones with spaces of no width; a folder that really has one in its name stays the one it is."""
    copied = f"{str(client)[:8]}\u200b{str(client)[8:]}"
    assert run("--metadir", copied, "status", "--json").stdout == run("--metadir", client, "status", "--json").stdout
    real = client.rename(client.with_name("cli\u200bent"))
    assert r"cli\x200bent" in run("--metadir", real, "inspect").stdout
