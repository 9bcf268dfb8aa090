import dagster as dg
from dagster_duckdb import DuckDBResource


@dg.asset(
    deps=[dg.AssetKey(["papers", "texts"])],
    automation_condition=dg.AutomationCondition.eager(),
    group_name="texts",
    kinds={"duckdb"},
)
def publishers(duckdb: DuckDBResource) -> dg.MaterializeResult:
    """Documents and pages of each publisher: an ordinary asset that hangs on a job."""
    with duckdb.get_connection() as connection:
        connection.execute(
            "CREATE OR REPLACE TABLE publishers AS "
            "SELECT publisher, count(*) AS documents, sum(pages) AS pages FROM texts GROUP BY publisher"
        )
        (rows,) = connection.execute("SELECT count(*) FROM publishers").fetchone() or (0,)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows})
