"""Which node holds what, and in which state it is."""
