"""The console: sign-in links that were used and sessions that were left.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE console_spent (
        id UUID NOT NULL,
        until TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_console_spent PRIMARY KEY (id)
    )
    """,
)

GRANTS = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'imagegate_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON console_spent TO imagegate_app;
    END IF;
END $$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(GRANTS)


def downgrade() -> None:
    raise RuntimeError("this schema cannot be taken back: sign-in links that were used would be good again")
