"""The component: a metadir in the YAML of a Dagster project, with the schema of the project file and Dagster's templates."""
