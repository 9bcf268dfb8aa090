"""The client: the state db, what is merged into it, and what jobs have done. The only room with SQL over the state db."""
