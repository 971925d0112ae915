"""Attempts by the moment they began: how a provider did in the last hours is read without reading all of them.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX ix_attempts_started_at ON attempts USING brin (started_at) WITH (autosummarize = on)"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_attempts_started_at")
