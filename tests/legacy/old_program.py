"""What a person did with mmmeta 0.1-0.4, run by the Python of an environment that holds one of these versions.

    python old_program.py STEP BASE

BASE gets a server's folder and a client's. Each step is a process of its own, as it was then: what a program that has ended
leaves in the write-ahead logs is what the migration has to read. Nothing here imports today's mmmeta.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import datetime

import yaml

_load = yaml.load
yaml.load = lambda stream, Loader=yaml.SafeLoader: _load(
    stream, Loader
)  # mmmeta 0.3 asks PyYAML 5, which builds no more

from old_documents import DOCUMENTS, record  # noqa: E402

from mmmeta import mmmeta  # noqa: E402

CONFIG = """\
metadata:
  file_name: _file_name
  unique: content_hash
  include: [title, pages, size, public, tags, note, later, reference, published_at, retrieved_at, "publisher:name",
    "publisher:jurisdiction:id", "headers:content_type", document_type]
%s:
  url: https://example.org/files/{_file_name}
"""


OPTIONS = os.environ.get("OLD_OPTIONS", "").split()
"""Of generate, once files have gone: ``--ensure`` from 0.3.3 on, without which no deletion was recorded."""


def write(base: str, *names: str) -> None:
    """Lay documents and their metadata into the server's folder."""
    for name in names:
        with open(os.path.join(base, "server", f"{name}.pdf"), "w") as document:
            document.write(name)
        with open(os.path.join(base, "server", f"{name}.json"), "w") as file:
            json.dump(record(name), file)


def remove(base: str, name: str) -> None:
    for suffix in (".pdf", ".json"):
        os.unlink(os.path.join(base, "server", name + suffix))


def generate(base: str, *options: str) -> None:
    """What ``mmmeta generate`` did."""
    from mmmeta.cli import cli

    server = os.path.join(base, "server")
    cli(["--metadir", server, "--files-root", server, "generate", *options], standalone_mode=False)


def sync(base: str) -> None:
    """A sync by somebody who leaves out the client's state db."""
    server, client = (os.path.join(base, side, "_mmmeta") for side in ("server", "client"))
    ignored = shutil.ignore_patterns("state.db*", "local_*")
    shutil.copytree(server, client, dirs_exist_ok=True, ignore=ignored)


def step_begin(base: str) -> None:
    config = os.environ.get("OLD_CONFIG")
    os.makedirs(os.path.join(base, "server", "_mmmeta"))
    os.makedirs(os.path.join(base, "client"))
    write(base, *"abcdeg")
    if config:
        with open(os.path.join(base, "server", "_mmmeta", "config.yml"), "w") as file:
            file.write(CONFIG % config)
    generate(base)


def step_update(base: str) -> None:
    sync(base)
    mmmeta(os.path.join(base, "client")).update()


def step_flags(base: str) -> None:
    """The client marks what it has imported, notes something, and corrects a title."""
    m = mmmeta(os.path.join(base, "client"))
    for file in list(m.files):
        name = file["content_hash"][0]
        if name in "abdg":
            file["imported"] = name != "b"
            file["imported_at"] = datetime(2023, 5, 6, 7, 8, 9)
            file["score"] = 3
            if name == "a":
                file["remark"] = "mine"
            file.save()
    for key, value in (("new_files", "17"), ("local_reference", "00123")):
        m.store[key] = value
    m.touch("local_last_updated")


def step_change(base: str) -> None:
    """A document changes, one is new, three go away."""
    DOCUMENTS["c"]["title"] = "C, changed"
    write(base, "c", "f")
    for name in "deg":
        remove(base, name)
    generate(base, *OPTIONS)


def step_return(base: str) -> None:
    """Two of those that went away are back, one of them changed."""
    DOCUMENTS["g"]["title"] = "G, back"
    write(base, "d", "g")
    generate(base, *OPTIONS)


def step_hand(base: str, name: str = "hand") -> None:
    """A file that no metadata tells of. Up to 0.3.0 no update goes through after it, for both sides count the rows."""
    mmmeta(os.path.join(base, "client")).files.insert({"content_hash": name, "title": "by hand", "reference": "007"})


def step_hand2(base: str) -> None:
    step_hand(base, "hand2")


def step_squash(base: str) -> None:
    """One CSV out of all, from 0.4.1 on."""
    from mmmeta.cli import cli

    cli(["--metadir", os.path.join(base, "server"), "squash"], standalone_mode=False)


def step_list(base: str) -> None:
    """What this version itself lists at the client, into ``listed.json``."""
    m = mmmeta(os.path.join(base, "client"))
    files = list(m.files)
    imported = [file["content_hash"] for file in files if file["imported"]]
    names = sorted(file["content_hash"] for file in files)
    with open(os.path.join(base, "listed.json"), "w") as file:
        json.dump({"files": names, "imported": sorted(imported), "counted": len(names)}, file)


if __name__ == "__main__":
    globals()[f"step_{sys.argv[1]}"](os.path.abspath(sys.argv[2]))
