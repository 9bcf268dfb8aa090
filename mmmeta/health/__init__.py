"""What needs a person: one judgement for the command line and for Dagster's asset checks."""
