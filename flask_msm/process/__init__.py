"""The process: its clock, locks that survive a fork, work behind requests."""
