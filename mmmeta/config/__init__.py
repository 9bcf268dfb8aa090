"""config.yml of a metadir, and the YAML that people write: read, checked, and told where it is wrong."""
