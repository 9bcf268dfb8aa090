"""Documents: where they come from, how they are called, and how they come into a folder."""
