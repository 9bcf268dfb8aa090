"""config.yml of a metadir, and the YAML that people write: it is read and checked, and errors name file, line and key."""
