"""From the snapshot to what the pages show: pure functions, no request, no I/O."""
