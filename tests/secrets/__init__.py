"""The master secret: what may be one, and how it changes."""
