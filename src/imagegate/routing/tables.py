"""The health of offerings as each process last saw it, for the next that starts."""

from sqlalchemy import Column, DateTime, Table, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB

from imagegate.db.base import metadata

offering_health = Table(
    "offering_health",
    metadata,
    Column("worker_id", Uuid, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("offering", Text, primary_key=True),
    Column("state", JSONB, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
