"""Metadirs that the real mmmeta 0.1-0.4 made, as test data, and how they are made anew.

    python tests/legacy/old_versions.py [VERSION ...]

makes them with these versions, from the package index, in environments of their own, and writes ``data/VERSION.tar.gz``:
``server/_mmmeta``, ``client/_mmmeta`` as they lay there when the programs had ended, and ``listed.json``, what the version
itself listed at the client.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE / "data"
PROGRAM = HERE / "old_program.py"


@dataclass(frozen=True)
class Old:
    """How a version was used.

    Attributes:
        config: what the section with URL templates was called; empty before there was a config.yml.
        options: of generate, once files have gone.
        steps: between the first update and the last two steps.
    """

    config: str = ""
    options: str = ""
    steps: tuple[str, ...] = ("flags", "change", "update", "return", "update")


WITH_HAND = ("flags", "hand", "change", "update", "return", "update")
SQUASHED = ("flags", "hand", "change", "update", "squash", "return", "update")
VERSIONS = {
    "0.1.1": Old(),
    "0.2.1": Old(),
    "0.3.0": Old("public"),
    "0.3.1": Old("public", steps=WITH_HAND),
    "0.3.3": Old("remote", "--ensure", WITH_HAND),
    "0.4.0": Old("remote", "--ensure", WITH_HAND),
    "0.4.2": Old("remote", "--ensure", WITH_HAND),
    "0.4.4": Old("remote", "--ensure", SQUASHED),
}
"""Those whose layouts differ. 0.1 itself cannot be imported, its package was not whole."""


def environment(version: str, folder: Path) -> Path:
    """The Python of a new environment with this version of mmmeta.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # dataset 2 wants another SQLAlchemy, and the old packages import pkg_resources.
    packages = [f"mmmeta=={version}", "dataset<2", "setuptools<81"]
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return python


def use(version: str, python: Path, base: Path) -> None:
    """Do with a version what people did."""
    old = VERSIONS[version]
    base.mkdir(parents=True, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MMMETA"))}
    environ |= {"OLD_CONFIG": old.config, "OLD_OPTIONS": old.options}
    for step in ("begin", "update", *old.steps, "hand2", "list"):
        words = [str(python), str(PROGRAM), step, str(base)]
        result = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{version}: {step}\n{result.stdout}{result.stderr}"


def pack(version: str, base: Path) -> None:
    """Keep what was made, without the documents and what SQLite makes anew."""
    DATA.mkdir(exist_ok=True)
    with tarfile.open(DATA / f"{version}.tar.gz", "w:gz") as archive:
        for path in sorted(base.rglob("*")):
            name = path.relative_to(base)
            if path.is_file() and ("_mmmeta" in name.parts or name.name == "listed.json") and path.suffix != ".db-shm":
                archive.add(path, str(name), filter=_nobody)


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def unpack(version: str, base: Path) -> None:
    """Lay down what was kept."""
    with tarfile.open(DATA / f"{version}.tar.gz") as archive:
        archive.extractall(base, filter="data")


if __name__ == "__main__":
    kept = os.environ.get("OLD_ENVIRONMENTS")
    for name in sys.argv[1:] or VERSIONS:
        work = Path(tempfile.mkdtemp())
        try:
            there = Path(kept, name, "bin", "python") if kept else environment(name, work / "env")
            use(name, there, work / "made")
            pack(name, work / "made")
            sys.stdout.write(f"{name}: {(DATA / f'{name}.tar.gz').stat().st_size} bytes\n")
        finally:
            shutil.rmtree(work)
