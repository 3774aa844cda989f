"""The first tables; `schema` says what they mean."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acked",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("journal_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("terminal_id", "journal_id", name="pk_acked"),
    )
    op.create_table(
        "events",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("journal_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("mono", sa.Float(), nullable=False),
        sa.Column("boot_id", sa.String(length=200), nullable=False),
        sa.Column("clock_quality", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("person_id", sa.String(length=200), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.String(length=200), nullable=False),
        sa.Column("hash", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("terminal_id", "journal_id", "seq", name="pk_events"),
    )
    op.create_index("ix_events_at_us", "events", ["at_us"], unique=False)
    op.create_index("ix_events_person_id", "events", ["person_id"], unique=False)
    op.create_table(
        "hub_keys",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("retired", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_hub_keys"),
    )
    op.create_index("ix_hub_keys_purpose", "hub_keys", ["purpose"], unique=False)
    op.create_table(
        "imported",
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("line", name="pk_imported"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.create_table(
        "persons",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("external", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name="pk_persons"),
        sa.UniqueConstraint("external", name="uq_persons_external"),
    )
    op.create_table(
        "shreds",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name="pk_shreds"),
    )
    op.create_table(
        "sites",
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", name="pk_sites"),
    )
    op.create_table(
        "streams",
        sa.Column("stream_id", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", name="pk_streams"),
        sa.UniqueConstraint("stream", name="uq_streams_stream"),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token_id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_table(
        "changes",
        sa.Column("stream_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("erased", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["stream_id"], ["streams.stream_id"], name="fk_changes_stream_id"),
        sa.PrimaryKeyConstraint("stream_id", "kind", "key", name="pk_changes"),
        sa.UniqueConstraint("stream_id", "seq", name="uq_changes_stream_id_seq"),
    )
    op.create_index("ix_changes_buckets", "changes", ["stream_id", "bucket"], unique=False)
    op.create_table(
        "consents",
        sa.Column("consent_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("given", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.person_id"], name="fk_consents_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("consent_id", name="pk_consents"),
    )
    op.create_index("ix_consents_person_id", "consents", ["person_id"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("credential_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.Column("finder", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.person_id"], name="fk_credentials_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("credential_id", name="pk_credentials"),
        sa.UniqueConstraint("finder", name="uq_credentials_finder"),
    )
    op.create_index("ix_credentials_person_id", "credentials", ["person_id"], unique=False)
    op.create_table(
        "groups",
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.site_id"], name="fk_groups_site_id"),
        sa.PrimaryKeyConstraint("group_id", name="pk_groups"),
    )
    op.create_table(
        "terminals",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("sign_public", sa.LargeBinary(), nullable=True),
        sa.Column("seal_public", sa.LargeBinary(), nullable=True),
        sa.Column("certificate_serial", sa.String(length=64), nullable=True),
        sa.Column("certificate_until", sa.BigInteger(), nullable=True),
        sa.Column("claimed", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.Column("boot_id", sa.String(length=64), nullable=True),
        sa.Column("issued", sa.BigInteger(), nullable=True),
        sa.Column("reported", sa.BigInteger(), nullable=True),
        sa.Column("journal_id", sa.String(length=64), nullable=True),
        sa.Column("journal_seq", sa.BigInteger(), nullable=True),
        sa.Column("acked_seq", sa.BigInteger(), nullable=True),
        sa.Column("desired_version", sa.BigInteger(), nullable=True),
        sa.Column("model_ids", sa.Text(), nullable=False),
        sa.Column("key_ids", sa.Text(), nullable=False),
        sa.Column("health", sa.Text(), nullable=False),
        sa.Column("is_online", sa.Boolean(), nullable=False),
        sa.Column("online_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["sites.site_id"], name="fk_terminals_site_id"),
        sa.PrimaryKeyConstraint("terminal_id", name="pk_terminals"),
    )
    op.create_table(
        "claims",
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_claims_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code_hash", name="pk_claims"),
    )
    op.create_index("ix_claims_terminal_id", "claims", ["terminal_id"], unique=False)
    op.create_table(
        "commands",
        sa.Column("command_id", sa.String(length=64), nullable=False),
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("verb", sa.String(length=64), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("argument", sa.Text(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("ordered_by", sa.String(length=64), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=True),
        sa.Column("answered", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_commands_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("command_id", name="pk_commands"),
    )
    op.create_index("ix_commands_terminal_id", "commands", ["terminal_id"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=80), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_cursors_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("terminal_id", "stream", name="pk_cursors"),
    )
    op.create_table(
        "desired",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("config_version", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_desired_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("terminal_id", name="pk_desired"),
    )
    op.create_table(
        "group_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("retired", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.group_id"], name="fk_group_keys_group_id"),
        sa.PrimaryKeyConstraint("key_id", name="pk_group_keys"),
    )
    op.create_index("ix_group_keys_group_id", "group_keys", ["group_id"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.group_id"], name="fk_memberships_group_id"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.person_id"], name="fk_memberships_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("person_id", "group_id", name="pk_memberships"),
    )
    op.create_index("ix_memberships_group_id", "memberships", ["group_id"], unique=False)
    op.create_table(
        "receipts",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=80), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_receipts_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("terminal_id", "stream", name="pk_receipts"),
    )
    op.create_table(
        "templates",
        sa.Column("template_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=200), nullable=False),
        sa.Column("consent_id", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["consent_id"], ["consents.consent_id"], name="fk_templates_consent_id"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.person_id"], name="fk_templates_person_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("template_id", name="pk_templates"),
    )
    op.create_index("ix_templates_generation", "templates", ["generation"], unique=False)
    op.create_index("ix_templates_person_id", "templates", ["person_id"], unique=False)
    op.create_table(
        "terminal_groups",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("since_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.group_id"], name="fk_terminal_groups_group_id"),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.terminal_id"], name="fk_terminal_groups_terminal_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("terminal_id", "group_id", name="pk_terminal_groups"),
    )
    op.create_index("ix_terminal_groups_group_id", "terminal_groups", ["group_id"], unique=False)
    op.create_table(
        "photos",
        sa.Column("template_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["persons.person_id"], name="fk_photos_person_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.template_id"], name="fk_photos_template_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("template_id", name="pk_photos"),
    )
    op.create_index("ix_photos_person_id", "photos", ["person_id"], unique=False)
