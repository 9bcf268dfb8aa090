"""The ledger in the state db's own SQLite file, in plain SQL."""
