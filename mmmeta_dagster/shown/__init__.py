"""What Dagster's UI shows of runs: sentences, numbers with units, Markdown tables, lists of columns."""
