"""What the fleet is like, in words and figures: one document for pages, programs and the shell."""
