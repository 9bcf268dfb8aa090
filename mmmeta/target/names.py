"""What tables and columns of a SQL target may be called, in every database that jobs load into."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Connection, Inspector

OVERFLOW = "_mmmeta_more"
"""The column of the keys that got none of their own: a JSON object, or NULL."""

NAME_BYTES = 63
"""PostgreSQL cuts longer names silently; the same limit everywhere, so that a name is the same everywhere."""

SYSTEM_NAMES = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", OVERFLOW})
"""Names that PostgreSQL keeps for itself in every table, and ours."""

DISTURBING = ("%(", "__[")
"""What SQLAlchemy takes for a parameter of its own, even inside a quoted name."""


SUPPORTED = ("sqlite", "postgresql", "mariadb", "mysql")
"""The databases that jobs load into, as SQLAlchemy calls them."""

NOT_SUPPORTED = (
    "{backend} is no database that mmmeta loads into: there are SQLite, PostgreSQL, MariaDB and MySQL "
    "(sqlite:///documents.db, postgresql+psycopg://…, mariadb+pymysql://…, mysql+pymysql://…)"
)
"""What is said of another database."""

NO_SCHEMAS = "SQLite has no schemas, so {table!r} names no table in it: write the name without a dot"
"""What is said of a dot in the name of one of SQLite's tables."""


class TableName(NamedTuple):
    """A table, and the schema that it is in (a database of MariaDB or MySQL); None for the one that the connection is at."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"

    def beside(self, name: str) -> TableName:
        """Another table in the same schema."""
        return TableName(self.schema, name)

    def quoted(self, connection: Connection) -> str:
        """As it stands in a statement."""
        quote = connection.dialect.identifier_preparer.quote_identifier
        return ".".join(quote(part) for part in self if part is not None)

    def is_there(self, inspector: Inspector) -> bool:
        """Whether there is such a table or view."""
        return inspector.has_table(self.name, self.schema)


def read_table_name(text: str) -> TableName:
    """``docs`` or ``archive.docs``: the dot is between a schema and its table.

    Raises:
        ValueError: it cannot be the name of a table; the message says why.
    """
    parts = text.split(".")
    if not text.strip():
        raise ValueError("the name of a table cannot be empty")
    if len(parts) > 2 or not all(part.strip() for part in parts):
        raise ValueError(f"{text!r} cannot be the name of a table: write documents, or schema.documents")
    for part in parts:
        if any(ord(character) < 32 or ord(character) == 127 for character in part):
            raise ValueError(f"{text!r} cannot be the name of a table: it has control characters in it")
        if len(part.encode()) > NAME_BYTES:
            raise ValueError(
                f"{text!r} cannot be the name of a table: at most {NAME_BYTES} bytes, PostgreSQL cuts off the rest"
            )
        for disturbing in DISTURBING:
            if disturbing in part:
                raise ValueError(f"{text!r} cannot be the name of a table: {disturbing} stands in it")
    name = parts[-1].lower()
    for prefix in ("_mmmeta", "sqlite_"):
        if name.startswith(prefix):
            raise ValueError(f"{text!r} cannot be the name of a table: those that begin with {prefix} are taken")
    return TableName(parts[0] if len(parts) == 2 else None, parts[-1])
