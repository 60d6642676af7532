"""What the workers tell each other."""
