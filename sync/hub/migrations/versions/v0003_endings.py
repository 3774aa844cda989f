"""Keys of templates and credentials, groups that terminals have left, the epoch of a desired state; and an index
without which each consent that goes with its person is looked for in every template."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("shreds") as shreds:
        shreds.alter_column("person_id", new_column_name="name", existing_type=sa.String(length=64),
                            existing_nullable=False)
    op.create_table(
        "departures",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_departures_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("terminal_id", "stream", name="pk_departures"),
    )
    op.add_column("desired", sa.Column("epoch", sa.String(length=64), nullable=False, server_default=""))
    op.create_index("ix_templates_consent_id", "templates", ["consent_id"], unique=False)
