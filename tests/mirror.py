"""A server and its client in one, whose files change as a test says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from archives import Archive

from mmmeta import Job, Metadir, RunReport


class Mirror:
    """A server's documents, and a client that has jobs with them.

    Attributes:
        target: folder of the downloads.
    """

    def __init__(self, archive: Archive, root: Path, unique: str = "content_hash") -> None:
        self.archive, self.root, self.target = archive, root, root / "target"
        archive.server.layout.metadir.mkdir(exist_ok=True)
        (archive.server.layout.metadir / "config.yml").write_text(f"metadata: {{unique: {unique}}}\n")
        self.client = Metadir(archive.client_path, archive.server_path)

    def write(self, name: str, content: str = "", **keys: Any) -> str:
        """A document with its metadata file; gives its digest."""
        folder = self.archive.server_path / name
        folder.mkdir(exist_ok=True)
        digest = hashlib.sha1((content or name).encode()).hexdigest()
        values = {"content_hash": digest, "_file_name": "doc.txt", "id": name, "title": name, **keys}
        (folder / values["_file_name"]).write_text(content or name)
        (folder / "doc.json").write_text(json.dumps(values))
        return digest

    def remove(self, *names: str) -> None:
        for name in names:
            for path in (self.archive.server_path / name).iterdir():
                path.unlink()

    def publish(self) -> None:
        """What is there; what is gone stays known."""
        self.archive.server.generate()
        self.archive.sync()
        self.client.update()

    def update(self) -> None:
        """What is there, and what is gone."""
        self.archive.server.generate(ensure=True, allow_mass_delete=True)
        self.archive.sync()
        self.client.update(allow_mass_delete=True)

    def job(self, name: str = "{title}", to: str = "target", job: str = "j", **rules: Any) -> Job:
        return self.client.job(
            job, download={"to": str(self.root / to), "name": name}, **{"on_delete": "action", **rules}
        )

    def there(self, folder: str = "target") -> dict[str, str]:
        root = self.root / folder
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def failures(report: RunReport) -> dict[str, str]:
    return {failure.file: f"{failure.error_type}: {failure.message}" for failure in report.failures}
