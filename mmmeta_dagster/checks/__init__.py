"""Asset checks: what is unhealthy although every run succeeds."""
