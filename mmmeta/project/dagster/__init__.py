"""What a project file says that only Dagster reads; checked here, without Dagster."""
