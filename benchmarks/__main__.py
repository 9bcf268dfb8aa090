"""``python -m benchmarks``: what mmmeta costs beside the bare work, part by part, and whether the goals are met.

The machine's speed drifts, so each round does the bare work and mmmeta's one after the other, and the ratio is taken
round by round; min, median and max of all rounds are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    downloading,
    generating,
    inserting,
    ledger,
    loading,
    millions,
    peers,
    services,
    starting,
    syncing,
    updating,
)
from benchmarks.figures import HEADER, Figure
from benchmarks.page import machine, write_page

Part = Callable[[Path, argparse.Namespace], Iterator[Figure]]


def memory(folder: Path, arguments: argparse.Namespace) -> Iterator[Figure]:
    """A million metadata files need some 5 GB of disk."""
    yield generating.memory(folder, arguments.memory)


def finding(folder: Path, arguments: argparse.Namespace) -> Iterator[Figure]:
    """Iterating over files with forty keys."""
    return updating.iterating(folder, 100_000, arguments.rounds)


PARTS: dict[str, Part] = {
    "start": lambda folder, arguments: starting.run(arguments.rounds),
    "generate": lambda folder, arguments: generating.run(folder, arguments.files, arguments.rounds),
    "insert": lambda folder, arguments: inserting.run(folder, arguments.rounds),
    "update": lambda folder, arguments: updating.run(folder, arguments.sizes, arguments.rounds),
    "sync": lambda folder, arguments: syncing.run(folder, arguments.synced),
    "find": finding,
    "ledger": lambda folder, arguments: ledger.run(folder, [100_000, 1_000_000], arguments.rounds),
    "services": lambda folder, arguments: services.run(folder, arguments.shared, arguments.served, arguments.rounds),
    "load": lambda folder, arguments: loading.run(folder, arguments.loaded, arguments.rounds),
    "download": lambda folder, arguments: downloading.run(folder, arguments.documents, arguments.rounds),
    "millions": lambda folder, arguments: millions.run(folder, arguments.millions, arguments.rounds),
    "memory": memory,
    "peers": lambda folder, arguments: peers.run(folder),
}


def main() -> None:
    """Run the parts asked for, all unless said; the exit status tells whether all goals were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all unless given")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: %(default)s)")
    parser.add_argument(
        "--files", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="metadata files to generate"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000], help="files to update"
    )
    parser.add_argument("--loaded", type=int, default=20_000, help="files to load (default: %(default)s)")
    parser.add_argument(
        "--millions",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000, 5_000_000, 10_000_000],
        help="files of the largest archive",
    )
    parser.add_argument(
        "--synced", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="files of which 1,000 change"
    )
    parser.add_argument("--shared", type=int, default=100_000, help="files that workers share (default: %(default)s)")
    parser.add_argument(
        "--served",
        type=int,
        default=1_000_000,
        help="files of an archive with a state in PostgreSQL (default: %(default)s)",
    )
    parser.add_argument("--documents", type=int, default=1_000, help="documents to download (default: %(default)s)")
    parser.add_argument("--memory", type=int, default=1_000_000, help="metadata files of the memory's measurement")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk that is to be measured")
    parser.add_argument("--results", type=Path, help="JSON file to add the figures to")
    parser.add_argument(
        "--page", type=Path, help="write docs/performance.md and its plot from --results, and measure nothing"
    )
    arguments = parser.parse_args()
    if arguments.page is not None:
        write_page(arguments.page, json.loads(arguments.results.read_text()))
        return
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    print(f"{machine()}; {arguments.rounds} rounds\n{HEADER}")
    missed = 0
    for name in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="mmmeta-benchmark-", dir=arguments.folder) as folder:
            figures = []
            for figure in PARTS[name](Path(folder), arguments):
                print(figure.line(), flush=True)
                missed += figure.met is False
                figures.append(figure.as_json())
        if arguments.results is not None:
            known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
            arguments.results.write_text(json.dumps(known | {name: figures, "machine": machine()}, indent=1))
    print("every goal was met" if not missed else f"{missed} goals were not met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
