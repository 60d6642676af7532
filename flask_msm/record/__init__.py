"""The session as data: pure, no I/O."""
