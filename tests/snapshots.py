"""What lies in a folder, and which files of an archive are alive."""

from __future__ import annotations

from pathlib import Path

from archives import Archive


def alive(archive: Archive) -> set[str]:
    """Unique values of the server's files."""
    return {file.unique_value for file in archive.server.files}


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
