"""How operators act on accounts, keys, wallets and prices; the command line and HTTP say it in their own words."""
