"""The line: from a request to a stored, paid and linked image. Read `pipeline.py` first."""
