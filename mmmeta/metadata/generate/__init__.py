"""From metadata files to the metadata db: walk, compare with what was seen before, read what changed."""
