"""Databases that a disk or a sync has damaged: thrown away where they are only a memory, else one clear error."""

from __future__ import annotations

from archives import Archive
from damage import COPIES, damaged_copies


def fill(archive: Archive) -> None:
    """Metadata files with values of all kinds, in folders."""
    for number in range(60):
        archive.write(
            f"folder-{number % 3}/file-{number}",
            title=f"Straßenbau {number} " + "x" * (number * 7 % 90),
            n=number,
            ratio=number / 7,
            big=2**70 + number,
            public=bool(number % 2) if number % 5 else None,
            topics=["road", {"deep": [number, None]}],
            publisher={"name": "ministry", "empty": {}},
            mixed=[str(number), number, True, None, [number]][number % 5],
        )


def test_a_damaged_scan_db_is_thrown_away_and_everything_read(archive: Archive) -> None:
    """It never stops a generate, never hides a change, and never deletes a file."""
    fill(archive)
    archive.server.generate()
    scan_db = archive.server.layout.scan_db
    sound = scan_db.read_bytes()
    for number, (how, broken) in enumerate(damaged_copies(sound, "scan.db", 2 * COPIES)):
        scan_db.write_bytes(broken)
        archive.write("folder-1/file-1", n=1_000 + number)
        report = archive.server.generate(ensure=True)
        assert (report.changed, report.added, report.deleted, report.problem_count) == (1, 0, 0, 0), how
        assert archive.server.generate().revision == report.revision, how
        assert archive.server.files.count() == 60, how
        found = archive.server.files.get("folder-1/file-1")
        assert found is not None and found["n"] == 1_000 + number, how
