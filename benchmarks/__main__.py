"""``python -m benchmarks``: what mmmeta costs, part by part; each part says what it compares with."""

from __future__ import annotations

import argparse
import sys

from benchmarks import files, ledger


def main() -> None:
    """Run one part, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "files", "ledger"), default="all")
    parser.add_argument("--files", type=int, default=10_000, help="metadata files (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="files of the ledger's state dbs"
    )
    arguments = parser.parse_args()
    met = True
    if arguments.part in ("all", "files"):
        files.main(arguments.files, arguments.rounds)
    if arguments.part in ("all", "ledger"):
        met = ledger.main(arguments.sizes, arguments.rounds)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
