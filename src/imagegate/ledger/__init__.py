"""The only code that moves tokens. Nobody else names its tables."""
