"""Areas have streams of their own: which terminals follow them, and keys by stream instead of by group.

Positions that lay in groups' streams are dropped there, as any record is; the next passage tells the areas.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "terminal_areas",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=80), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("area_id", sa.String(length=64), nullable=False),
        sa.Column("since_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_terminal_areas_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("terminal_id", "stream", name="pk_terminal_areas"),
    )
    op.create_index("ix_terminal_areas_stream", "terminal_areas", ["stream"], unique=False)
    op.create_index("ix_terminal_areas_site_id", "terminal_areas", ["site_id"], unique=False)
    op.create_table(
        "stream_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=80), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("retired", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_stream_keys"),
    )
    op.create_index("ix_stream_keys_stream", "stream_keys", ["stream"], unique=False)
    op.execute(sa.text(
        "INSERT INTO stream_keys (key_id, stream, created, retired, sealed) "
        "SELECT key_id, 'group/' || group_id, created, retired, sealed FROM group_keys"))
    op.drop_table("group_keys")
    _drop_positions()


def _drop_positions() -> None:
    """Every position in a group's stream becomes a drop at the stream's end."""
    tables = sa.MetaData()
    streams = sa.Table("streams", tables, autoload_with=op.get_bind())
    changes = sa.Table("changes", tables, autoload_with=op.get_bind())
    db = op.get_bind()
    held = sa.and_(changes.c.kind == "position", changes.c.leaf.is_not(None))
    for stream in db.execute(sa.select(streams)).all():
        seq = stream.seq
        where = sa.and_(held, changes.c.stream_id == stream.stream_id)
        for row in db.execute(sa.select(changes).where(where).order_by(changes.c.key)).all():
            seq += 1
            db.execute(sa.update(changes).where(
                changes.c.stream_id == stream.stream_id, changes.c.kind == "position", changes.c.key == row.key
            ).values(seq=seq, owner="", leaf=None, sealed=None, erased=hashlib.sha256(row.sealed).digest()))
        if seq != stream.seq:
            db.execute(sa.update(streams).where(streams.c.stream_id == stream.stream_id).values(seq=seq))
