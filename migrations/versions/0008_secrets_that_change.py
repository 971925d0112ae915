"""The master secret may change: which one a key's hash was made with, and which ones a process accepts.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE api_keys ADD COLUMN pepper_id BYTEA",
    "ALTER TABLE operator_keys ADD COLUMN pepper_id BYTEA",
    "ALTER TABLE workers ADD COLUMN secrets TEXT[]",
    "COMMENT ON COLUMN api_keys.pepper_id IS 'the secret its hash was made with; NULL: the first'",
    "COMMENT ON COLUMN operator_keys.pepper_id IS 'the secret its hash was made with; NULL: the first'",
    "COMMENT ON COLUMN workers.secrets IS 'fingerprints of the master secrets it accepts'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE workers DROP COLUMN secrets")
    op.execute("ALTER TABLE operator_keys DROP COLUMN pepper_id")
    op.execute("ALTER TABLE api_keys DROP COLUMN pepper_id")
