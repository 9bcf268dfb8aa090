"""Links, pipes and devices that a sync brings into a metadir: nothing is read or written through them, nothing hangs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import Archive, everything
from metadirs import client_with_own, own_values

VERBS = """
import sys, warnings
from mmmeta import Metadir
from mmmeta.errors import MmmetaError
warnings.simplefilter("ignore")
def read(m): return [dict(file) for file in m.files]
def save(m):
    for file in m.files:
        file["imported"] = "by the attack"
        file.save()
def store(m): return list(m.store.items()), m.touch("touched"), m.store["remote_revision"], m.store["evil"]
def run(m): return m.job("j").run(lambda file: None)
for verb in (Metadir.update, read, save, store, run, Metadir.inspect, Metadir.check, Metadir.status, Metadir.generate):
    with Metadir(sys.argv[1]) as m:
        try:
            print(verb.__name__, verb(m))
        except MmmetaError as error:
            assert "\\n" not in str(error), error
            print(verb.__name__, "MmmetaError", error)
        except OSError as error:
            raise SystemExit(f"{verb.__name__}: {error!r}")
"""


def links_to(name: str) -> Callable[[Path, Path], None]:
    """A name in the metadir as a link to the same of another archive, or to a secret file."""

    def bring(metadir: Path, other: Path) -> None:
        _take_away(metadir / name)
        (metadir / name).parent.mkdir(parents=True, exist_ok=True)
        (metadir / name).symlink_to(other / name)

    return bring


def becomes_pipe(name: str) -> Callable[[Path, Path], None]:
    def bring(metadir: Path, other: Path) -> None:
        _take_away(metadir / name)
        (metadir / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(metadir / name)

    return bring


def _take_away(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


NAMES = [
    "local",
    "local/state.db",
    "local/state.db-wal",
    "local/status.json",
    "local/store",
    "local/store/local_revision",
    "local/workers",
    "local/scan.db",
    "local/announced",
    "local/server",
    "meta.db",
    "meta.db-journal",
    "meta.db-wal",
    "config.yml",
    "_store",
    "_store/remote_revision",
    "_store/evil",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [links_to, becomes_pipe], ids=["link", "pipe"])
def test_nothing_goes_through_what_a_sync_brought(
    archive: Archive, tmp_path: Path, name: str, kind: Callable[[str], Callable[[Path, Path], None]]
) -> None:
    """Every verb ends soon, in one clear sentence or as if it were not there; the other archive stays as it was."""
    client_with_own(archive)
    other = Archive(tmp_path / "other")
    client_with_own(other)
    (other.client_path / "_mmmeta" / "config.yml").write_text("metadata: {unique: title}\n")
    (other.client_path / "_mmmeta" / "_store" / "evil").write_text("a secret")
    other.close()
    archive.close()
    kind(name)(archive.client.layout.metadir, other.client.layout.metadir)
    before = everything(tmp_path / "other")
    done = subprocess.run(
        [sys.executable, "-c", VERBS, str(archive.client_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a secret" not in done.stdout
    assert everything(tmp_path / "other") == before


def test_a_pipe_can_be_interrupted_everywhere(archive: Archive) -> None:
    """There is nothing to interrupt: it ends by itself."""
    client_with_own(archive)
    archive.close()
    becomes_pipe("config.yml")(archive.client.layout.metadir, archive.root)
    done = subprocess.run(
        [sys.executable, "-m", "mmmeta", "--metadir", str(archive.client_path), "update"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "config.yml" in done.stderr
    assert done.returncode != -signal.SIGKILL


def test_a_metadir_that_a_person_has_linked_is_fine(archive: Archive, tmp_path: Path) -> None:
    """What a sync brings lies below it."""
    client_with_own(archive)
    archive.close()
    real = tmp_path / "elsewhere"
    archive.client.layout.metadir.rename(real)
    archive.client.layout.metadir.symlink_to(real)
    assert len(own_values(archive.client_path)) == 3
    archive.write("new")
    archive.server.generate()
    shutil.copy(archive.server.layout.meta_db, real / "meta.db")
    assert archive.client.update().added == 1
