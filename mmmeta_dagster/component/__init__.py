"""The component: a metadir in the YAML of a Dagster project."""
