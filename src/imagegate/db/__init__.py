"""The database: its engine, the embedded server, migrations."""
