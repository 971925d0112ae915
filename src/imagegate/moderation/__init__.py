"""What may be drawn, and who says so."""
