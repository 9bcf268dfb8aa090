"""What jobs do with files; an action gets claimed files and says of each how it ended."""
