"""From metadata files to the metadata db: walks, compares with what was seen before, reads and writes what changed."""
