"""Images as bytes: what they are, how they are converted, kept and linked."""
