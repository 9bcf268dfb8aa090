"""The whole mission on one machine: a server publishes, a client updates and imports, each file once."""
