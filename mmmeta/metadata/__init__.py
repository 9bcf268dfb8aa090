"""The server: the metadata db, who may write it, and what is announced of it."""
