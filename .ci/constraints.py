"""Writes constraints.txt: what `.[dagster,dev,http,mysql,parquet,s3,sftp,benchmarks,services]` installs today, for every Python given.

    python .ci/constraints.py python3.10 python3.11 python3.12 python3.13 > constraints.txt

One line a package where all Pythons get the same version, otherwise one line a version with a marker. Names and
versions only, so that it works with any package index.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "dagster,dev,http,mysql,parquet,s3,sftp,benchmarks,services"
OURS = {"mmmeta"}
INSTALLERS = {"pip", "setuptools", "wheel"}


def installed(python: str) -> tuple[str, dict[str, str]]:
    """``3.12`` and name → version of everything that an install brings."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True, stdout=sys.stderr)
        inner = str(Path(folder) / "bin" / "python")
        install = [inner, "-m", "pip", "install", "--quiet", f"{ROOT}[{EXTRAS}]"]
        subprocess.run(install, check=True, stdout=sys.stderr)
        code = (
            "import sys, importlib.metadata as m\n"
            "print('%d.%d' % sys.version_info[:2])\n"
            "for d in m.distributions(): print(d.metadata['Name'], d.version)"
        )
        lines = subprocess.run([inner, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    versions = dict(line.split() for line in lines[1:])
    return lines[0], {name: version for name, version in versions.items() if name.lower() not in OURS | INSTALLERS}


def constraints(found: dict[str, dict[str, str]]) -> list[str]:
    """The lines of the file."""
    lines = []
    for name in sorted({name for versions in found.values() for name in versions}, key=str.lower):
        by_version: dict[str, list[str]] = {}
        for python, versions in found.items():
            if name in versions:
                by_version.setdefault(versions[name], []).append(python)
        lines += [f"{name}=={version}{marker(pythons, list(found))}" for version, pythons in by_version.items()]
    return lines


def marker(pythons: list[str], every: list[str]) -> str:
    """Which Pythons a version is for, in the order they were given (oldest first); newer ones get the newest's."""
    start, end = every.index(pythons[0]), every.index(pythons[-1])
    if len(pythons) == len(every):
        return ""
    if every[start:] == pythons:
        return f' ; python_version >= "{pythons[0]}"'
    if every[: end + 1] == pythons:
        return f' ; python_version <= "{pythons[-1]}"'
    return " ; " + " or ".join(f'python_version == "{python}"' for python in pythons)


if __name__ == "__main__":
    print(f"# What was tested: `pip install -c constraints.txt -e '.[{EXTRAS}]'`. Made by `make constraints`.")
    print("\n".join(constraints(dict(installed(python) for python in sys.argv[1:]))))
