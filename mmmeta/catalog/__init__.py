"""The table files that the metadata db and the state db both have: its columns, its cells, and how conditions find rows."""
