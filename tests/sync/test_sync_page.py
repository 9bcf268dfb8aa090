"""docs/sync.md with the servers that its blocks talk to; without them ``tests/whole/test_docs.py`` runs the rest of it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import pytest
from docs_blocks import ROOT
from docs_runner import Runner
from remotes import remote_at

from examples.demo import archive

pytestmark = pytest.mark.services

PAGE = ROOT / "docs" / "sync.md"


def test_every_block_runs_with_servers(tmp_path: Path) -> None:
    """The addresses of the page are those of the servers here; all else is as it stands."""
    folder = tmp_path / "sandbox"
    (folder / "server" / "_mmmeta").mkdir(parents=True)
    (folder / "server" / "_mmmeta" / "config.yml").write_text(archive.CONFIG)
    for document in archive.first_documents(datetime.now(timezone.utc).replace(tzinfo=None)):
        archive.write_document(folder / "server", document)
    with ExitStack() as stack:
        s3, sftp, http = (stack.enter_context(remote_at(kind)) for kind in ("s3", "sftp", "http"))
        shutil.copytree(Path(sftp.environment["HOME"], ".ssh"), folder / ".home" / ".ssh")
        own = {name: value for name, value in s3.environment.items() if name.startswith("AWS_")}
        runner = Runner("docs/sync.md", folder, lambda: folder, servers=own | s3.rclone())
        text = PAGE.read_text(encoding="utf-8")
        for shown, here in {
            "s3://bucket": s3.url,
            "remote:bucket": f"remote:{s3.rclone_path}",
            "sftp://server.example.org/srv/archive": sftp.url,
            "https://www.example.org/archive": http.url,
            "/srv/www/archive": str(http.folder),
        }.items():
            assert shown in text
            text = text.replace(shown, here)
        assert runner.run(text) > 10
