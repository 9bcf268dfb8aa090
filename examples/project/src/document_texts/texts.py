"""The text of every PDF in DuckDB, one row a document."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource
from pypdf import PdfReader

from mmmeta import File
from mmmeta_dagster import mmmeta_asset

TABLE = """
CREATE TABLE IF NOT EXISTS texts (
    id VARCHAR PRIMARY KEY, title VARCHAR, publisher VARCHAR, pages INTEGER, text VARCHAR, run VARCHAR
)
"""


class Downloads(dg.ConfigurableResource):
    """The folder that the job ``download`` fills."""

    folder: str

    def path(self, file: File) -> Path:
        """The document, in the version that the metadata describes."""
        path = Path(self.folder) / file["_file_name"]
        if hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() != file["content_hash"]:
            raise ValueError(f"{path} is another version; it comes again after its download")
        return path


# No metadir here: defs/papers/defs.yaml says whose job this is. A file that raises comes again later, with a growing
# pause, and stops no other.
@mmmeta_asset(
    where={"extension": "pdf"},
    on_delete="action",
    attempts=3,
    batch_size=20,
    deps=[dg.AssetKey(["papers", "download"])],
    kinds=["python", "duckdb"],
    group="texts",
    pool="duckdb",
)
def texts(context: dg.AssetExecutionContext, file: File, downloads: Downloads, duckdb: DuckDBResource) -> None:
    """Text of every PDF, in the table texts of DuckDB."""
    # Before the connection is opened: DuckDBResource does not close it when something is raised in its block.
    pages = [] if file.deleted else [page.extract_text() for page in PdfReader(downloads.path(file)).pages]
    with duckdb.get_connection() as connection:
        connection.execute(TABLE)
        if file.deleted:
            connection.execute("DELETE FROM texts WHERE id = ?", [file.unique_value])
            return
        # A process may die between this commit and the ledger's, and the file comes once more. DuckDB is not the state
        # db, so no transaction spans both: an upsert by the unique key makes twice as good as once.
        row = [file.unique_value, file.get("title"), file.get("publisher:name"), len(pages), "\n".join(pages)]
        connection.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?, ?)", [*row, context.run.run_id])
