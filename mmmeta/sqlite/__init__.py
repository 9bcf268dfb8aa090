"""One SQLite file: connections, transactions, and what can be wrong with it. Knows no table of ours."""
