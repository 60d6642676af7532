"""Where sessions are kept: copies on nodes, and on this host when there are none."""
