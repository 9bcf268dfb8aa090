"""Looks into a SQL target from outside, and an archive whose files keep their identity when their content changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from archives import Archive

from mmmeta.target.receipts import Stamp
from mmmeta.target.target import SqlTarget, TargetRow, Written


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Execute one statement of one's own, committed."""
    from sqlalchemy import create_engine

    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.exec_driver_sql(statement)
        rows = [tuple(row) for row in result.all()] if result.returns_rows else []
    engine.dispose()
    return rows


def told(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The same with the values that were written, which MariaDB keeps as text."""
    rows = query(url, statement)
    return [tuple(map(_typed, row)) for row in rows] if "mariadb" in url else rows


def quoted(url: str, name: str) -> str:
    """A name as it stands in a statement of this database."""
    from sqlalchemy import create_engine

    return create_engine(url).dialect.identifier_preparer.quote_identifier(name)


def columns_of(url: str, table: str = "documents") -> list[str]:
    """The names of a table's columns, in order."""
    from sqlalchemy import create_engine, inspect

    engine = create_engine(url)
    names = [str(column["name"]) for column in inspect(engine).get_columns(table)]
    engine.dispose()
    return names


def tables_of(url: str) -> list[str]:
    """The names of all tables."""
    from sqlalchemy import create_engine, inspect

    engine = create_engine(url)
    names = inspect(engine).get_table_names()
    engine.dispose()
    return names


def identify_by_id(archive: Archive) -> None:
    """Files are identified by ``id``, so that their content may change."""
    archive.server.layout.config.parent.mkdir(exist_ok=True)
    archive.server.layout.config.write_text("metadata:\n  unique: id\n")


def publish(archive: Archive, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write metadata files by ``id``, and bring them to the client."""
    for name, values in files.items():
        archive.write(name, {"id": name, "content_hash": "1", **values})
    archive.deliver()


def delete(archive: Archive, *names: str) -> None:
    """Remove metadata files for good, and let the client know."""
    for name in names:
        archive.remove(name)
    archive.publish(ensure=True, allow_mass_delete=True)
    archive.client.update()


def write(target: SqlTarget, *rows: tuple[str, dict[str, Any], int], job: str = "load") -> Written:
    """Write rows: unique value, values, token."""
    stamped = [TargetRow(unique, values, Stamp(token)) for unique, values, token in rows]
    return target.write(stamped, state_id="state", job=job)


def receipts(url: str, *files: str, job: str = "load") -> dict[str, int]:
    """File → token of its receipt, for those of these files that have one."""
    from sqlalchemy import bindparam, create_engine, text

    statement = text(
        "SELECT file, token FROM _mmmeta_receipts WHERE state_id = 'state' AND job = :job AND file IN :files"
    )
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(
            statement.bindparams(bindparam("files", expanding=True)), {"job": job, "files": list(files)}
        ).all()
    engine.dispose()
    return {str(file): int(token) for file, token in found}


def read(url: str, table: str = "documents") -> dict[str, dict[str, Any]]:
    """Unique value → the row's values that are not NULL."""
    from sqlalchemy import create_engine

    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT * FROM {quoted(url, table)}").mappings().all()
    engine.dispose()
    told = _typed if "mariadb" in url else lambda value: value
    return {
        row["content_hash"]: {k: told(v) for k, v in row.items() if v is not None and k != "content_hash"}
        for row in rows
    }


def _typed(value: Any) -> Any:
    """What MariaDB keeps as text, as the number or truth that it was."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return found if isinstance(found, bool | int | float) and abs(found) < 2**64 else value
