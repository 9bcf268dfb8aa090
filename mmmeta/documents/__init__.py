"""Documents: where they come from, what they are called, and how they get into a folder, whole and checked."""
