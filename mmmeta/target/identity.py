"""Which database and table a URL means, however it is spelled: what the ledger keeps of where rows are.

Neither driver, user and password nor an option such as ``?timeout=5`` makes another database. Nothing is opened.
"""

from __future__ import annotations

import ast
import os
import re
from urllib.parse import parse_qsl, unquote, urlencode

from mmmeta.masking import without_password

_URL = re.compile(
    r"(?P<backend>\w+)(?:\+\w+)?://(?:[^:/@]*(?::[^@]*)?@)?(?P<host>\[[^\]]*\]|[^:/?]*)(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}
_PORTS = {"postgresql": "5432", "mysql": "3306"}
_FILES = ("sqlite", "duckdb")
"""Databases that are a file of this machine."""

_LOCAL = ("", "127.0.0.1", "[::1]")
_SAY_WHERE = ("host", "port", "service", "dbname", "unix_socket", "options")
"""Options of a URL that make another database of it."""

_TABLE = ", table "


def table_name(url: str, table: str) -> str:
    """Database and table in one form: ``sqlite:////data/docs.db, table 'documents'``."""
    return f"{_database(url)}{_TABLE}{table!r}"


def split_name(name: str) -> tuple[str, str] | None:
    """URL and table out of what ``table_name`` gave; None for anything else, such as a folder."""
    url, _, table = name.rpartition(_TABLE)
    try:
        return (url, str(ast.literal_eval(table))) if url else None
    except (SyntaxError, ValueError):
        return None


def is_file(url: str) -> bool:
    """Whether a database that ``table_name`` has named is a file, for which nobody needs a password."""
    return url.startswith(tuple(f"{backend}:///" for backend in _FILES))


def _database(url: str) -> str:
    match = _URL.fullmatch(url)
    if match is None:
        return without_password(url)
    backend = match["backend"].lower()
    backend = _ALIASES.get(backend, backend)
    database = match["database"] or ""
    if backend in _FILES and not match["host"]:
        path = database
        if path.startswith("file:"):
            path = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", path))
        return f"{backend}:///{os.path.realpath(os.path.expanduser(path))}"
    host = match["host"].lower()
    port = match["port"] or _PORTS.get(backend, "")
    said = [pair for pair in parse_qsl(match["query"] or "") if pair[0] in _SAY_WHERE]
    where = f"{'localhost' if host in _LOCAL else host}{f':{port}' if port else ''}"
    return f"{backend}://{where}/{database}{'?' if said else ''}{urlencode(sorted(said))}"
