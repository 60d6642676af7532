"""What a confirmation page shows before a change, and the fields it asks for."""
