#!/usr/bin/env bash
# Runs once, when the postgres image makes its database. The owner (POSTGRES_USER) migrates; the gateway comes as
# imagegate_app, to which the migrations grant what it needs: of the transfers only to read and to append.
set -euo pipefail

psql -X -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv password POSTGRES_APP_PASSWORD
CREATE ROLE imagegate_app LOGIN PASSWORD :'password';
SQL
