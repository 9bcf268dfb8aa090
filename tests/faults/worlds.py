"""A small archive with a server and a client, what it holds in words that can be compared, and what must hold of any.

What is looked at is read with plain SQL and plain reads, not by mmmeta.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from archives import copy_metadir

from mmmeta import Job, Metadir
from mmmeta.clock import utcnow

NAMES = ("a", "b", "c")
"""Of the documents, and of their files."""

OLD = "old"
"""Folder of a metadir of mmmeta 0.1-0.4. Nobody else may open its databases: even who only looks at their log changes them."""

_VOLATILE = re.compile(
    r"(__(rev|state_rev|meta_added|meta_last_updated|deleted_at|source_mtime|state_added|state_last_updated)"
    r"|.*_at|token|asked|attempts|tried|lease_until|boot|worker|run_id|due|rev|state|id|heartbeat|evaluated|error_.*)"
)
"""Columns that tell when, by whom and how often, and not what."""

_PASSED_OVER = {"info", "revisions", "attempts", "registry", "ledger_counts"}
"""Tables that tell the same. What they say of the others is a matter of ``trouble``."""


def document(name: str, version: int = 1) -> bytes:
    """The document of a file, long enough to be written in several pieces."""
    return f"{name}{version} ".encode() * 40_000


def digest(name: str, version: int = 1) -> str:
    return hashlib.sha1(document(name, version)).hexdigest()


class World:
    """A server and a client below one folder; nothing is opened before it is used.

    Args:
        later: the clocks are two days ahead, so that what failed is due again.
    """

    def __init__(self, root: Path, *, later: bool = False) -> None:
        self.root = root
        self.server_path = root / "server"
        self.client_path = root / "client"
        self.downloads = root / "downloads"
        self.results = root / "results"
        self.target = root / "target.db"
        ahead = timedelta(days=2 if later else 0)
        self.server = Metadir(self.server_path, clock=lambda: utcnow() + ahead)
        self.client = Metadir(self.client_path, files_root=self.server_path, clock=lambda: utcnow() + ahead)

    def write(self, name: str, version: int = 1, **keys: Any) -> None:
        """A document and its metadata file; a file is told by ``id``, its content by its SHA-1."""
        metadir = self.server_path / "_mmmeta"
        metadir.mkdir(parents=True, exist_ok=True)
        (metadir / "config.yml").write_text("metadata:\n  unique: id\n")
        (self.server_path / f"{name}.pdf").write_bytes(document(name, version))
        record = {"id": name, "content_hash": digest(name, version), "_file_name": f"{name}.pdf", "v": version, **keys}
        part = self.server_path / f"{name}.part"
        part.write_text(json.dumps(record))
        os.replace(part, self.server_path / f"{name}.json")

    def write_all(self) -> None:
        for name in NAMES:
            self.write(name, title=f"Title of {name}")

    def sync(self) -> None:
        copy_metadir(self.server_path, self.client_path)

    def publish(self) -> None:
        self.server.generate()
        self.sync()

    def deliver(self) -> None:
        self.publish()
        self.client.update()

    def download_job(self) -> Job:
        return self.client.job("download", download={"to": str(self.downloads)}, on_delete="action", batch_size=2)

    def load_job(self) -> Job:
        load = {"to": f"sqlite:///{self.target}", "table": "documents"}
        return self.client.job("load", load=load, on_delete="action", batch_size=2)

    def command_job(self) -> Job:
        """Its program is ended by no fault: what it does is not mmmeta's."""
        script = 'sha1sum < "$1" > "results/$MMMETA_FILE.txt"'
        command = {"run": ["sh", "-c", script, "sh", "{__path}"], "folder": str(self.root)}
        return self.client.job("command", command=command, batch_size=2)

    def loop_job(self) -> Job:
        return self.client.job("loop")

    def close(self) -> None:
        self.server.close()
        self.client.close()


def databases(root: Path) -> list[Path]:
    old = root / OLD / "_mmmeta"
    return sorted(path for path in root.rglob("*.db") if path.stat().st_size and old not in path.parents)


def rows(path: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a statement gives; none where there is no such database or table."""
    if not path.exists() or not path.stat().st_size:
        return []
    with closing(sqlite3.connect(path)) as connection:
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def files_in(database: Path) -> dict[str, tuple[Any, ...]]:
    """Unique value → version and whether it is deleted, of a metadata db or a state db."""
    if not rows(database, "SELECT 1 FROM files LIMIT 1"):  # which may have no column of theirs then
        return {}
    return {row[0]: row[1:] for row in rows(database, "SELECT id, v, __deleted FROM files")}


def ledger(root: Path, job: str) -> dict[str, tuple[Any, ...]]:
    """File → status, attempts and why, as the ledger has them."""
    sql = "SELECT file, status, attempts, error_type FROM ledger WHERE job = ?"
    return {row[0]: row[1:] for row in rows(root / "client/_mmmeta/local/state.db", sql, job)}


def contents(root: Path) -> dict[str, Any]:
    """Everything that is there and that two runs of the same have to have in common."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir():
            continue
        if path.name == "scan.db":
            found[name] = "memory"
        elif path.is_relative_to(root / OLD / "_mmmeta"):
            found[name] = hashlib.sha1(path.read_bytes()).hexdigest()
        elif path.suffix == ".db":
            found.update({f"{name} {table}": content for table, content in _tables(path, root)})
        elif path.name == "status.json":
            found[name] = _status(json.loads(path.read_text()))
        elif path.name == "announced":
            found[name] = "announced"
        elif path.name == "head.json":
            found[name] = logged(path.parent)
        elif path.parent.name == "changes":
            continue  # what head.json names is read with it, and the others wait to be removed
        elif path.name == "setaside.json.gz":
            if aside := json.loads(gzip.decompress(path.read_bytes()))["rows"]:  # it stays where there is none any more
                found[name] = [row[:3] for row in aside]
        elif path.suffix == ".pdf":
            found[name] = hashlib.sha1(path.read_bytes()).hexdigest()
        else:
            found[name] = _text(path)
    return found


def logged(metadir: Path) -> dict[str, Any]:
    """Unique value → metadata of all files, by the change log alone; where it is not whole, what is wrong with it."""
    head = json.loads((metadir / "head.json").read_text())
    files: dict[str, Any] = {}
    fingerprints: dict[str, int] = {}
    for segment in head["segments"]:
        path = metadir / "changes" / f"{segment['first']}-{segment['last']}.jsonl.gz"
        packed = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(packed).hexdigest() != segment["sha256"]:
            return {"not whole": path.name}
        first, *lines = gzip.decompress(packed).decode().rstrip("\n").split("\n")
        for row in map(json.loads, lines[json.loads(first)["revisions"] :]):
            file = str(row["metadata"][head["unique"]])
            files[file] = None if "deleted" in row else row["metadata"]
            fingerprints[file] = int(row["fingerprint"], 16)
    if f"{sum(fingerprints.values()) % 2**128:032x}" != head["digest"]:
        return {"not whole": "digest"}
    return files


def _tables(path: Path, root: Path) -> Iterator[tuple[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table in _PASSED_OVER or table.startswith("sqlite_"):
                continue
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            names = [entry[0] for entry in cursor.description]
            kept = [at for at, name in enumerate(names) if name == "id" or not _VOLATILE.fullmatch(name)]
            content = [{names[at]: _cell(row[at], root) for at in kept if row[at] is not None} for row in cursor]
            if content or table != "setaside":  # made when something is set aside for the first time, and then it stays
                yield table, sorted(content, key=str)


def _cell(value: Any, root: Path) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.replace(str(root), "<root>") if isinstance(value, str) else value


def _status(content: dict[str, Any]) -> Any:
    counted = ("pending", "claimed", "done", "failed", "dead", "skipped")
    return {name: {key: job[key] for key in counted if job[key]} for name, job in content["jobs"].items()}


def _text(path: Path) -> str:
    text = path.read_text(errors="replace")
    if path.name.endswith("_revision"):
        return "revision"
    return "moment" if path.name.endswith("_last_updated") and re.fullmatch(r"\d{4}-\d\d-\d\d[T ].*", text) else text


def trouble(root: Path) -> Iterator[str]:
    """What is broken or half, whatever has happened."""
    for path in databases(root):
        with closing(sqlite3.connect(path)) as connection:
            try:
                found = connection.execute("PRAGMA integrity_check").fetchall()
            except sqlite3.DatabaseError as error:
                found = [(str(error),)]
        if found != [("ok",)]:
            yield f"{path.relative_to(root)}: integrity_check: {found[:3]}"
    whole = {hashlib.sha1(document(name, version)).hexdigest() for name in (*NAMES, "d") for version in (1, 2)}
    for path in (root / "downloads").rglob("*.pdf"):
        if hashlib.sha1(path.read_bytes()).hexdigest() not in whole:
            yield f"{path.relative_to(root)}: is half a document"
    for path in root.glob("*/_mmmeta/_store/*"):
        if not path.name.startswith(".") and not path.read_text():
            yield f"{path.relative_to(root)}: is half a value"
    status = root / "client/_mmmeta/local/status.json"
    if status.exists():
        json.loads(status.read_text())
    yield from _lies(root)


def _lies(root: Path) -> Iterator[str]:
    """What the ledger calls done, and is not there; what it calls undone, and is."""
    loaded = {row[0] for row in rows(root / "target.db", "SELECT id FROM documents")}
    for file, (status, _, why) in ledger(root, "load").items():
        if (status == "done") != (file in loaded) and status in ("done", "skipped"):
            yield f"load: {file} is {status} ({why}), its row is {'' if file in loaded else 'not '}there"
    for file, (status, _, why) in ledger(root, "download").items():
        there = (root / "downloads" / f"{file}.pdf").exists()
        if (status == "done") != there and (status == "done" or why == "Retracted"):
            yield f"download: {file} is {status} ({why}), its document is {'' if there else 'not '}there"


def disagreement(root: Path) -> Iterator[str]:
    """What is derived and does not say what the databases say; to hold after a verb that completed."""
    for side, database, key in (
        ("server", "_mmmeta/meta.db", "remote_revision"),
        ("client", "_mmmeta/local/state.db", "local_revision"),
    ):
        told = rows(root / side / database, "SELECT value FROM info WHERE name = 'revision'")
        folder = "_store" if side == "server" else "local/store"
        path = root / side / "_mmmeta" / folder / key
        if told and told[0][0] and (path.read_text() if path.exists() else None) != str(told[0][0]):
            yield f"{path.relative_to(root)} is not the revision of {database}, {told[0][0]}"
    log = root / "server/_mmmeta/head.json"
    head = json.loads(log.read_text()) if log.exists() else {}
    info = dict(rows(root / "server/_mmmeta/meta.db", "SELECT name, value FROM info"))
    if info.get("revision") and {name: str(head.get(name)) for name in ("id", "revision")} != {
        name: str(info[name]) for name in ("id", "revision")
    }:
        yield f"head.json is not of the revision of meta.db, {info['revision']}"
    if head and "not whole" in (said := logged(log.parent)):
        yield f"the change log is not whole: {said}"
    status = root / "client/_mmmeta/local/status.json"
    state = root / "client/_mmmeta/local/state.db"
    if status.exists():
        content = json.loads(status.read_text())
        for job, said in content["jobs"].items():
            counts = dict(rows(state, "SELECT status, count(*) FROM ledger WHERE job = ? GROUP BY 1", job))
            if {name: said[name] for name in counts} != counts:
                yield f"status.json does not say of {job} what the ledger says: {counts}"
