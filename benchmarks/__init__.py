"""What sessions add to a request; see ``README.md``."""
