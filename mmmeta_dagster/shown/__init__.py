"""What Dagster's UI shows: Markdown, tables, numbers with units."""
