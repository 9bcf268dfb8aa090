"""A deployment at work, with a server, three clients and syncs, most of it killed again and again; see docs/guarantees.md.

    python tests/soak                   two minutes
    python tests/soak --minutes 120
    python tests/soak --seed 7          the same publications, and the same kills as far as one machine is like another
    python tests/soak --keep FOLDER     leave everything there, to be looked at

Prints what is wrong as it is found, and a table. Ends with 1 where there was anything.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import accounts
from actors import Actor, everybody, in_child
from scene import CLIENTS, JOBS, Scene

from mmmeta import Metadir

USED = (
    "mmmeta.documents.transfer",
    "mmmeta.jobs.actions.download",
    "mmmeta.jobs.actions.load",
    "mmmeta.target.present",
    "mmmeta.target.target",
    "sqlalchemy.dialects.sqlite",
)
"""What is imported when it is first used."""

ROUND = 15.0
"""Seconds between two quiet times."""

LONGEST_STEP = 120.0
"""Seconds; whoever takes longer for one step hangs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--round", type=float, default=ROUND, help="seconds between two quiet times")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is temporary goes then, too
    print(f"{options.minutes:g} minutes, seed {options.seed} (make: SEED={options.seed})", flush=True)
    if options.keep:
        return Soak(options.keep.resolve(), options.seed).run(options.minutes * 60, options.round)
    with tempfile.TemporaryDirectory(prefix="mmmeta-soak-") as folder:
        return Soak(Path(folder), options.seed).run(options.minutes * 60, options.round)


class Soak:
    """One run of the deployment; ``run`` gives the exit code."""

    def __init__(self, root: Path, seed: int) -> None:
        self.scene = Scene(root)
        self.publications = random.Random(seed)
        self.seed = seed
        self.actors: list[Actor] = []
        self.found: list[str] = []
        self.sizes: list[dict[str, tuple[int, int]]] = []
        self.files: list[int] = []
        self.changes = 0

    def run(self, seconds: float, between: float) -> int:
        for name in USED:  # now, so that a forked process has all of it
            importlib.import_module(name)
        logging.getLogger("mmmeta").addHandler(logging.NullHandler())
        for name in [name for name in os.environ if name.startswith("MMMETA")]:
            del os.environ[name]
        gc.collect()
        gc.freeze()  # a fork then copies less
        started = time.monotonic()
        self.scene.make()
        self._all_to_the_end()
        for client in CLIENTS:
            self.scene.watch_target(client)
        self.actors = everybody(self.scene, self.seed)
        try:
            while not self.found and (not self.sizes or time.monotonic() - started < seconds):
                self._busy(between)
                self._quiet()
        finally:
            for actor in self.actors:
                actor.kill()
        return self._table(time.monotonic() - started)

    def _busy(self, seconds: float) -> None:
        """The deployment at work, and things happen at the server."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for actor in self.actors:
                actor.tend()
            if self.publications.random() < 0.1:
                for _ in range(self.publications.randrange(1, 6)):
                    self.scene.change(self.publications)
                    self.changes += 1
            time.sleep(0.02)

    def _quiet(self) -> None:
        """Whoever can be killed is; the others wait. What must hold holds; the work is brought to its end; all are equal."""
        for actor in self.actors:
            if not actor.is_steady:
                actor.kill()
        with self.scene.quiet(LONGEST_STEP):
            self._note(accounts.wrong(self.scene))
            self._all_to_the_end()
            self._note((*accounts.wrong(self.scene), *accounts.unequal(self.scene)))
            self.sizes.append(
                {actor.name: actor.footprint() for actor in self.actors if actor.is_steady and actor.lives()}
            )
            self.files.append(accounts.kept_files(self.scene))
        self._note(what for actor in self.actors for what in actor.trouble)
        self._note(accounts.growth(self.sizes, self.files))

    def _all_to_the_end(self) -> None:
        """Publish, sync whole and do all work that is left, in a process of its own, as the next one would."""
        stderr = self.scene.root / "end.stderr"
        child = os.fork()
        if not child:
            in_child(stderr, self._to_the_end)
        _, status = os.waitpid(child, 0)
        if status or stderr.read_text():
            self._note([f"the work could not be brought to its end: {stderr.read_text()[-3_000:]}"])

    def _to_the_end(self) -> None:
        with Metadir(self.scene.server) as server:
            assert not server.generate(ensure=True).problems
        for client in CLIENTS:
            self.scene.sync_whole(client)
            with self.scene.metadir(client) as metadir:
                metadir.update()
                for name in JOBS:
                    self.scene.run(metadir, name, "end")  # what failed is in the ledger by now
                    self.scene.job(metadir, name).retry(dead=True)
                    self.scene.run(metadir, name, "end")

    def _note(self, found: Iterable[str]) -> None:
        for what in found:
            self.found.append(what)
            if len(self.found) <= 20:
                print(f"WRONG {what}", flush=True)

    def _table(self, seconds: float) -> int:
        done: Counter[str] = Counter()
        for actor in self.actors:
            done += actor.told()
        kills = sum(actor.kills for actor in self.actors)
        calls, again = 0, 0
        for client in CLIENTS:
            ends = [entry[2:] for entry in accounts.said(self.scene, client) if entry[1] == "end"]
            calls += len(ends)
            again += len(ends) - len(set(ends))
        print(f"{self.changes:,} changes, {kills:,} kills, {len(self.sizes)} quiet times, {seconds:.0f} seconds")
        for name in sorted(name for name in done if not name.startswith("#")):
            print(f"{done[name]:8,}  {name}")
        print(f"{calls:8,}  calls of the function, {again:,} of them again, after a kill")
        for name, (memory, descriptors) in self.sizes[-1].items():
            first = self.sizes[0].get(name, (memory, descriptors))
            print(f"{name}: {first[0] / 1e6:.0f} → {memory / 1e6:.0f} MB, {first[1]} → {descriptors} descriptors")
        print(f"{len(self.found)} wrong")
        return int(bool(self.found))


if __name__ == "__main__":
    sys.exit(main())
