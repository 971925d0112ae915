"""Who asks: accounts, API keys, and the one master secret."""
