"""The sensor: what it sees, what it decides, what it says."""
