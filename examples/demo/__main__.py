"""``python -m examples.demo [all|prepare|publish|dagster-home]``, in the root of a clone; see ``--help``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from examples.demo import client, places, server

EXPECTED = {"download_contracts": (12, 3, 0), "import_recent": (13, 6, 0)}
"""Job → files done in run one, two and three. A demo that does something else fails."""

CHOICES = {
    "all": "the whole demo: three publications and three Dagster runs (the default)",
    "prepare": "make and publish the archive if there is none, run nothing",
    "publish": "add and change some documents, publish and sync: what a running sensor notices",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The demo's commands; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    width = max(map(len, CHOICES))
    parser.epilog = "\n".join(f"  {name:{width}}  {text}" for name, text in CHOICES.items())
    parser.add_argument("what", nargs="?", choices=CHOICES, default="all")
    what = parser.parse_args(arguments).what
    # Into a file or a pipe, the same width everywhere.
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=False)
    try:
        return {"all": everything, "prepare": prepare, "publish": publish}[what](console)
    except client.RunFailedError as error:
        console.print(str(error), style="red", markup=False)
        return 1


def prepare(console: Console) -> int:
    """Make the archive, publish it and sync it, unless it is there."""
    places.make_dagster_home()
    if (places.CLIENT / "_mmmeta" / "meta.db").exists():
        return 0
    places.clear()
    server.make_archive()
    server.publish()
    server.sync()
    console.print(
        f"{_place(places.SERVER)}: an archive of {len(list(places.SERVER.glob('[!_]*/*.json')))} documents, published"
    )
    return 0


def publish(console: Console) -> int:
    """Change the archive, publish it and sync it."""
    prepare(console)
    for line in server.change_archive():
        console.print(f"  {line}")
    _publish(console)
    return 0


def everything(console: Console) -> int:
    """Three rounds of publishing, syncing and importing; fails where a job did not do what it should."""
    started = time.monotonic()
    places.clear()
    places.make_dagster_home()
    server.make_archive()
    done: dict[str, list[int]] = {}
    for number, headline in enumerate(
        ("Everything is new", "Later: only what is new or changed", "Nothing happened"), 1
    ):
        console.rule(f"[bold]Run {number}[/bold]  {headline}", align="left")
        if number == 2:
            for line in server.change_archive():
                console.print(f"  {line}")
        _publish(console)
        console.print(f"  $ {client.COMMAND}", markup=False)
        log = places.DEMO / f"run-{number}.log"
        client.run_import(log)
        results = client.results()
        console.print(_table(results))
        for result in results:
            done.setdefault(result.job, []).append(result.done)
    console.print(
        f"{_place(places.DOWNLOADS)}: {sum(1 for _ in places.DOWNLOADS.iterdir())} documents.  "
        f"{_place(places.DATABASE)}: table documents.  {_place(places.DEMO / 'run-*.log')}: what Dagster said."
    )
    console.print(f"{time.monotonic() - started:.0f} seconds. Next: make dev", markup=False)
    wrong = [job for job, expected in EXPECTED.items() if tuple(done.get(job, ())) != expected]
    for job in wrong:
        console.print(f"{job}: expected {EXPECTED[job]}, got {tuple(done.get(job, ()))}", style="red", markup=False)
    return 1 if wrong else 0


def _publish(console: Console) -> None:
    report = server.publish()
    server.sync()
    console.print(
        f"  server: {report.added} files added, {report.changed} changed, {report.unchanged} unchanged; "
        f"revision {report.revision}, metadir copied to the client",
        markup=False,
    )


def _table(results: Sequence[client.JobResult]) -> Table:
    table = Table("job", "wants files where")
    for number in ("selected", "done", "failed", "left"):
        table.add_column(number, justify="right")
    for result in results:
        numbers = (result.selected, result.done, result.failed, result.left)
        table.add_row(result.job, result.selection, *map(str, numbers))
    return table


def _place(path: os.PathLike[str]) -> str:
    return os.path.relpath(path, places.ROOT)


if __name__ == "__main__":
    sys.exit(main())
