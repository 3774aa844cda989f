"""Policies that terminals share, and which terminal was given one; QR passes and those that were revoked; where
persons are; the time zones of sites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sites", sa.Column("time_zone", sa.String(length=64), nullable=False, server_default="UTC"))
    op.create_table(
        "policies",
        sa.Column("policy_id", sa.String(length=64), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("policy_id", name="pk_policies"),
    )
    op.create_table(
        "terminal_policies",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("policy_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_terminal_policies_terminal_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["policies.policy_id"], name="fk_terminal_policies_policy_id"
        ),
        sa.PrimaryKeyConstraint("terminal_id", name="pk_terminal_policies"),
    )
    op.create_index("ix_terminal_policies_policy_id", "terminal_policies", ["policy_id"], unique=False)
    op.create_table(
        "passes",
        sa.Column("pass_id", sa.String(length=64), nullable=False),
        sa.Column("door_id", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("is_once", sa.Boolean(), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("issued_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("pass_id", name="pk_passes"),
    )
    op.create_index("ix_passes_person_id", "passes", ["person_id"], unique=False)
    op.create_table(
        "positions",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("area_id", sa.String(length=64), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.person_id"], name="fk_positions_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("person_id", "site_id", name="pk_positions"),
    )
    op.create_table(
        "revoked_passes",
        sa.Column("pass_id", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pass_id", name="pk_revoked_passes"),
    )
