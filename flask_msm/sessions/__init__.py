"""What one request does with one session."""
