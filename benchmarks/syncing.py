"""What a sync moves after a thousand files of an archive have changed: real rsync and rclone, with the change log and with meta.db,
and mmmeta's own pull.

rsync runs as it does between two machines, through a remote shell, so that it sends only the parts of a file that differ where it
can; rclone copies files whole, as every sync with an object store does. The CSVs of mmmeta 0.4.4 stand beside it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import corpus, peers
from benchmarks.figures import TIMES_OTHER, Figure
from mmmeta import Metadir, mmmeta
from mmmeta.sync import pull

CHANGED = 1_000

SLACK = 16_384
"""Bytes for head.json, the store and the talk of the tools."""

LIMIT = 1.5
"""Times the changed rows, packed."""

PUBLICATIONS = 20
"""For the average, in which segments are merged."""

OLD_FILES = 2_000
"""Files of the archive of mmmeta 0.4.4, which takes minutes for many. The CSV that it adds tells what changed, and nothing else:
its size does not depend on the archive's."""

OLD_GENERATE = "import sys; from mmmeta import mmmeta; mmmeta(sys.argv[1]).generate()"

OLD_CONFIG = f"metadata: {{include: [{', '.join(corpus.light(0))}]}}\n"

GROWTH = 1.1
"""Times what the smallest archive moves that the largest may move."""

TIMES_ROWS = "times the changed rows, packed, less 16 KB, at most"


def run(folder: Path, sizes: list[int]) -> Iterator[Figure]:
    """Two figures for each tool that is installed and each size: one publication, and what as many cost on average; and copying
    meta.db beside it."""
    tools = {name: tool for name, tool in {"rsync": rsync, "rclone": rclone}.items() if shutil.which(name)}
    for missing in {"rsync", "rclone"} - tools.keys():
        print(f"{missing} is not installed, and not measured", file=sys.stderr)
    first: dict[str, float] = {}
    for size in sorted(sizes):
        base = folder / str(size)
        with mmmeta(base / "server") as server:
            server.files.insert_many(corpus.lights(0, size))
            for name, tool in tools.items():
                tool(base, name, "meta.db")
                tool(base, f"{name} with meta.db", "head.json", "changes")
            pull(base / "pulled", str(base / "server"))
            moved: dict[str, list[float]] = {name: [] for name in tools}
            packed: list[float] = []
            for version in range(1, PUBLICATIONS + 1):
                packed.append(publish(server, size, version))
                for name, tool in tools.items():
                    moved[name].append(max(0.0, float(tool(base, name, "meta.db") - SLACK)))
                if version == 1:
                    own = pull(base / "pulled", str(base / "server")).bytes
                    yield Figure(
                        "mmmeta sync pull, 1,000 changed", size, [max(0.0, own - SLACK)], packed, LIMIT, TIMES_ROWS
                    )
                    for name, tool in tools.items():
                        yield Figure(
                            f"sync with {name}, 1,000 changed", size, moved[name][:1], packed[:1], LIMIT, TIMES_ROWS
                        )
                        if size > min(sizes):
                            times = (moved[name][0] + SLACK) / (first[name] + SLACK)
                            yield Figure(
                                f"sync with {name}, against {min(sizes):,}", size, [times], [], GROWTH, TIMES_OTHER
                            )
                        first.setdefault(name, moved[name][0])
                        whole = float(tool(base, f"{name} with meta.db", "head.json", "changes"))
                        yield Figure(f"sync with {name}, by meta.db", size, [whole], packed[:1])
            for name in tools:
                each = [sum(moved[name]) / PUBLICATIONS], [sum(packed) / PUBLICATIONS]
                yield Figure(f"sync with {name}, each of {PUBLICATIONS}", size, *each)
        shutil.rmtree(base)
        if size == min(sizes):
            yield from by_csv(folder, tools)


def by_csv(folder: Path, tools: dict[str, Callable[..., int]]) -> Iterator[Figure]:
    """The same change at a server of mmmeta 0.4.4, whose metadir is a CSV more with each publication."""
    base = folder / "0.4.4"
    python = peers.environment(base / "environment", peers.OLD)
    (base / "server" / "_mmmeta").mkdir(parents=True)
    (base / "server" / "_mmmeta" / "config.yml").write_text(OLD_CONFIG)
    step = OLD_FILES // CHANGED
    packed = 0.0
    for version in (0, 1):
        rows = [corpus.light(number, version) for number in range(0, OLD_FILES, step if version else 1)]
        for row in rows:
            (base / "server" / f"{row['foreign_id']}.json").write_text(json.dumps(row))
        subprocess.run([python, "-I", "-c", OLD_GENERATE, base / "server"], check=True, capture_output=True)
        packed = bytes_packed(rows)
        moved = {name: float(tool(base, name, "state.db*")) for name, tool in tools.items()}
    for name in tools:
        yield Figure(f"sync with {name}, mmmeta 0.4.4", OLD_FILES, [max(0.0, moved[name] - SLACK)], [packed])
    shutil.rmtree(base)


def bytes_packed(rows: list[dict[str, Any]]) -> float:
    """What these rows are by themselves, packed."""
    text = "\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return float(len(gzip.compress(text.encode(), 6)))


def publish(server: Metadir, size: int, version: int) -> float:
    """Change a thousand files all over the archive; returns the bytes of their metadata, packed."""
    step = size // CHANGED
    rows = [corpus.light(number * step + version % step, version) for number in range(CHANGED)]
    server.files.upsert_many(rows, ["content_hash"])
    return bytes_packed(rows)


def rsync(base: Path, name: str, *without: str) -> int:
    """Bytes that go over the line, in both directions."""
    shell = base / "shell"
    if not shell.exists():
        shell.write_text('#!/bin/sh\nshift\nexec "$@"\n')
        shell.chmod(shell.stat().st_mode | stat.S_IXUSR)
    target = base / name / "_mmmeta"
    target.mkdir(parents=True, exist_ok=True)
    left_out = [f"--exclude={part}" for part in ("local", *without)]
    command = [
        "rsync",
        "-a",
        "--delete",
        "--stats",
        f"--rsh={shell}",
        *left_out,
        f"here:{base}/server/_mmmeta/",
        f"{target}/",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    return sum(int(number.replace(",", "")) for number in re.findall(r"Total bytes (?:sent|received): ([\d,]+)", said))


def rclone(base: Path, name: str, *without: str) -> int:
    """Bytes of the files that are copied."""
    left_out = [f"--exclude={part}" for part in ("local/**", *without, *(f"{part}/**" for part in without))]
    config = base / "rclone.conf"
    config.touch()
    command = ["rclone", "sync", "--config", str(config), "--use-json-log", "-v", "--stats", "1h", *left_out]
    said = subprocess.run(
        [*command, f"{base}/server/_mmmeta", f"{base}/{name}/_mmmeta"], check=True, capture_output=True, text=True
    ).stderr
    moved = [json.loads(line)["stats"]["bytes"] for line in said.splitlines() if '"stats"' in line]
    return int(moved[-1])
