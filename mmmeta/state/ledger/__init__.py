"""The ledger: per job and file, what happened."""
