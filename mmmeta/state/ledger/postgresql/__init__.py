"""The ledger in PostgreSQL: for a state that several machines share."""
