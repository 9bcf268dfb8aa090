"""update: what is said."""

from __future__ import annotations

import json
from pathlib import Path

from cli_support import Run


def test_update_merges_and_says_when_nothing_is_new(client: Path, run: Run) -> None:
    """Both as a sentence and as JSON."""
    assert run("--metadir", client, "update").stdout.startswith("client: 3 added (revision 1")
    assert run("--metadir", client, "update").stdout.startswith("client: nothing new (revision 1")
    report = json.loads(run("--metadir", client, "update", "--json").stdout)
    assert (report["added"], report["how"], report["revision"]) == (0, "nothing new", 1)
