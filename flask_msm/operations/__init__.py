"""What people see and change: console, snapshot, checks, command line."""
