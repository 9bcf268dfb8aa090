import dagster as dg
from dagster_duckdb import DuckDBResource

from document_texts.texts import Downloads


@dg.definitions
def resources(context: dg.ComponentLoadContext) -> dg.Definitions:
    data = context.project_root / "data"
    return dg.Definitions(
        resources={
            "downloads": Downloads(folder=str(data / "downloads")),
            "duckdb": DuckDBResource(database=str(data / "texts.duckdb")),
        }
    )
