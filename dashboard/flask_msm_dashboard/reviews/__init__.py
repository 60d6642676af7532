"""What an operator is told before something is done, and what has to be filled in for it."""
