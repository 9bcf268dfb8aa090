"""Where the demo keeps everything: below ``demo/`` in the clone, as ``mmmeta.yaml`` says.

demo/
  server/       the remote: documents, metadata files, the metadir that ``generate`` writes
  client/       the client: a copy of the metadir, and its own state
  downloads/    what the job download_contracts fetches
  documents.db  what the job import_recent fills
  dagster/      runs and their logs, as the Dagster UI shows them
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = ROOT / "mmmeta.yaml"
DEMO = ROOT / "demo"
SERVER = DEMO / "server"
CLIENT = DEMO / "client"
DOWNLOADS = DEMO / "downloads"
DATABASE = DEMO / "documents.db"
DAGSTER_HOME = DEMO / "dagster"


def clear() -> None:
    """Remove what an earlier demo left, except the runs that Dagster knows: its UI may be open."""
    for folder in (SERVER, CLIENT, DOWNLOADS):
        if folder.is_dir():
            shutil.rmtree(folder)
    for leftover in DEMO.glob(f"{DATABASE.name}*"):
        leftover.unlink()


def make_dagster_home() -> Path:
    """Dagster's folder, with a configuration that sends no usage data."""
    DAGSTER_HOME.mkdir(parents=True, exist_ok=True)
    config = DAGSTER_HOME / "dagster.yaml"
    if not config.exists():
        config.write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    return DAGSTER_HOME
