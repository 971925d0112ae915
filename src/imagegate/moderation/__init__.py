"""What may be drawn."""
