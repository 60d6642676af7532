"""Sessions on this host."""
