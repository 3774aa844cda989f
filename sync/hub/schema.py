"""The hub's tables. Times are milliseconds since the Unix epoch, UTC, unless a column's name says otherwise.

In the clear are random ids, ids that the site's administrator chose (sites, groups, terminals), order and times.
Columns named `sealed` are opened with a key that lies outside this database (`vault`): a person's record and consents
under the person's key, a template and its photo under the template's, a credential under its own, everything else
under the hub's.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s",
})

ID = String(64)


def _person(primary_key: bool = False, index: bool = False) -> Column[str]:
    owner = ForeignKey("persons.person_id", ondelete="CASCADE")
    return Column("person_id", ID, owner, primary_key=primary_key, index=index, nullable=False)


def _terminal(primary_key: bool = False, index: bool = False) -> Column[str]:
    owner = ForeignKey("terminals.terminal_id", ondelete="CASCADE")
    return Column("terminal_id", ID, owner, primary_key=primary_key, index=index, nullable=False)


# name -> value: the ledger's epoch and generation, how often faces were added, whether an erasure is due, up to where
# the list of endings was seen, when the clock was last believed
meta = Table("meta", metadata, Column("name", ID, primary_key=True), Column("value", Text, nullable=False))

# --- who ---------------------------------------------------------------------------------------------------

sites = Table(
    "sites", metadata,
    Column("site_id", ID, primary_key=True), Column("title", Text, nullable=False, default=""),
    Column("time_zone", ID, nullable=False, server_default="UTC"))

groups = Table(
    "groups", metadata,
    Column("group_id", ID, primary_key=True),
    Column("site_id", ID, ForeignKey("sites.site_id"), nullable=False),
    Column("title", Text, nullable=False, default=""))

# external  keyed hash of the customer's own id, by which a person is found again (`keys.Vault.finder`)
persons = Table(
    "persons", metadata,
    Column("person_id", ID, primary_key=True), Column("external", LargeBinary, unique=True),
    Column("created", BigInteger, nullable=False), Column("sealed", LargeBinary, nullable=False))

memberships = Table(
    "memberships", metadata, _person(primary_key=True),
    Column("group_id", ID, ForeignKey("groups.group_id"), primary_key=True, index=True))

consents = Table(
    "consents", metadata,
    Column("consent_id", ID, primary_key=True), _person(index=True),
    Column("given", BigInteger, nullable=False), Column("valid_until", BigInteger), Column("withdrawn", BigInteger),
    Column("sealed", LargeBinary, nullable=False))

# generation  rises with every enrolment, for those who keep a matrix of them (`faces`)
templates = Table(
    "templates", metadata,
    Column("template_id", ID, primary_key=True), _person(index=True), Column("model_id", String(200), nullable=False),
    Column("consent_id", ID, ForeignKey("consents.consent_id"), nullable=False, index=True),
    Column("generation", BigInteger, nullable=False, index=True), Column("sealed", LargeBinary, nullable=False))

photos = Table(
    "photos", metadata,
    Column("template_id", ID, ForeignKey("templates.template_id", ondelete="CASCADE"), primary_key=True),
    _person(index=True), Column("sealed", LargeBinary, nullable=False))

# finder  keyed hash of method and secret, so that one card is not given to two persons
credentials = Table(
    "credentials", metadata,
    Column("credential_id", ID, primary_key=True), _person(index=True), Column("method", ID, nullable=False),
    Column("finder", LargeBinary, unique=True), Column("sealed", LargeBinary, nullable=False))

# Where a person is at a site, as its doors have seen. area_id: empty for outside
positions = Table(
    "positions", metadata, _person(primary_key=True), Column("site_id", ID, primary_key=True),
    Column("area_id", ID, nullable=False), Column("at_us", BigInteger, nullable=False),
    Column("terminal_id", ID, nullable=False))

# QR passes that were issued, until they are over. sealed: a visitor's label under the pass's own key; person_id ends
# with the person, the row does not, since what is revoked must be known.
passes = Table(
    "passes", metadata,
    Column("pass_id", ID, primary_key=True), Column("door_id", ID, nullable=False),
    Column("group_id", ID, nullable=False), Column("valid_from", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False), Column("is_once", Boolean, nullable=False),
    Column("person_id", ID, index=True), Column("sealed", LargeBinary),
    Column("issued", BigInteger, nullable=False), Column("issued_by", ID, nullable=False, default=""))

# Passes that count no longer, which every terminal is told until they would have expired; also those that this
# database, set back since, does not know.
revoked_passes = Table(
    "revoked_passes", metadata,
    Column("pass_id", ID, primary_key=True), Column("until", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False))

# Keys of what is gone that have yet to be destroyed.
shreds = Table("shreds", metadata, Column("name", ID, primary_key=True))

# --- the ledger --------------------------------------------------------------------------------------------

# floor  drops up to this seq are no longer listed: whoever stands below needs a snapshot
streams = Table(
    "streams", metadata,
    Column("stream_id", Integer, primary_key=True), Column("stream", String(80), nullable=False, unique=True),
    Column("seq", BigInteger, nullable=False), Column("floor", BigInteger, nullable=False))

# One row per record that ever lived: its last change. A put has a leaf and a body, a drop neither.
# owner   the key that the body is sealed under; empty for the hub's
# leaf    the record's hash for the digest, sealed under the hub's key: a hash of a name would give the name away
# erased  of a drop: SHA-256 of the sealed body that was erased, which tells nobody what was in it
changes = Table(
    "changes", metadata,
    Column("stream_id", Integer, ForeignKey("streams.stream_id"), primary_key=True),
    Column("kind", ID, primary_key=True), Column("key", ID, primary_key=True),
    Column("seq", BigInteger, nullable=False), Column("bucket", Integer, nullable=False),
    Column("at", BigInteger, nullable=False), Column("owner", ID, nullable=False, default=""),
    Column("leaf", LargeBinary), Column("sealed", LargeBinary), Column("erased", LargeBinary),
    UniqueConstraint("stream_id", "seq"), Index("ix_changes_buckets", "stream_id", "bucket"))

# --- terminals ---------------------------------------------------------------------------------------------

terminals = Table(
    "terminals", metadata,
    Column("terminal_id", ID, primary_key=True), Column("site_id", ID, ForeignKey("sites.site_id"), nullable=False),
    Column("title", Text, nullable=False, default=""), Column("created", BigInteger, nullable=False),
    # identity, set at the claim
    Column("sign_public", LargeBinary), Column("seal_public", LargeBinary), Column("certificate_serial", String(64)),
    Column("certificate_until", BigInteger), Column("claimed", BigInteger), Column("revoked", BigInteger),
    # the last report, and presence
    Column("boot_id", ID), Column("issued", BigInteger), Column("reported", BigInteger),
    Column("journal_id", ID), Column("journal_seq", BigInteger), Column("acked_seq", BigInteger),
    Column("desired_version", BigInteger), Column("model_ids", Text, nullable=False, default="[]"),
    Column("key_ids", Text, nullable=False, default="[]"), Column("health", Text, nullable=False, default="{}"),
    Column("is_online", Boolean, nullable=False, default=False), Column("online_at", BigInteger))

terminal_groups = Table(
    "terminal_groups", metadata, _terminal(primary_key=True),
    Column("group_id", ID, ForeignKey("groups.group_id"), primary_key=True, index=True),
    Column("since_seq", BigInteger, nullable=False))

# The areas that a terminal's policy names, whose streams it follows.
terminal_areas = Table(
    "terminal_areas", metadata, _terminal(primary_key=True),
    Column("stream", String(80), primary_key=True, index=True), Column("site_id", ID, nullable=False, index=True),
    Column("area_id", ID, nullable=False), Column("since_seq", BigInteger, nullable=False))

# A policy that terminals share, as the text that was given; what a terminal goes by lies in its own stream.
policies = Table(
    "policies", metadata,
    Column("policy_id", ID, primary_key=True), Column("changed", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False))

# Terminals that were given a policy. policy_id: the shared one that it follows; empty where it has one of its own
terminal_policies = Table(
    "terminal_policies", metadata, _terminal(primary_key=True),
    Column("policy_id", ID, ForeignKey("policies.policy_id"), index=True))

cursors = Table(
    "cursors", metadata, _terminal(primary_key=True), Column("stream", String(80), primary_key=True),
    Column("epoch", ID, nullable=False), Column("seq", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False))

# Deletions are done at this terminal up to seq.
receipts = Table(
    "receipts", metadata, _terminal(primary_key=True), Column("stream", String(80), primary_key=True),
    Column("epoch", ID, nullable=False), Column("seq", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False), Column("issued", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False))

# Groups' and areas' streams that a terminal is to hold no longer and has not shown to be rid of.
# seq   up to which it owed no receipt when it left
# head  where the stream stood then: what it signs of an earlier state proves nothing
departures = Table(
    "departures", metadata, _terminal(primary_key=True), Column("stream", String(80), primary_key=True),
    Column("seq", BigInteger, nullable=False), Column("head", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False))

claims = Table(
    "claims", metadata,
    Column("code_hash", LargeBinary, primary_key=True), _terminal(index=True),
    Column("created", BigInteger, nullable=False), Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger))

# Every TLS certificate that a terminal was ever given; what is revoked and not yet over is in the broker's list.
certificates = Table(
    "certificates", metadata,
    Column("serial", ID, primary_key=True), Column("terminal_id", ID, nullable=False, index=True),
    Column("issued", BigInteger, nullable=False), Column("until", BigInteger, nullable=False),
    Column("revoked", BigInteger))

commands = Table(
    "commands", metadata,
    Column("command_id", ID, primary_key=True), _terminal(index=True), Column("boot_id", ID, nullable=False),
    Column("verb", ID, nullable=False), Column("seconds", Float),
    Column("argument", Text, nullable=False, default=""),
    Column("issued", BigInteger, nullable=False), Column("expires", BigInteger, nullable=False),
    Column("ordered_by", ID, nullable=False, default=""), Column("sent", BigInteger),
    Column("answered", BigInteger),
    Column("outcome", ID), Column("reason", Text, nullable=False, default=""))

# sent   the version that was last handed to the broker
# epoch  the ledger's when this was wanted: what stems from an earlier one may be older than what the terminal holds
desired = Table(
    "desired", metadata, _terminal(primary_key=True),
    Column("version", BigInteger, nullable=False), Column("mode", ID, nullable=False),
    Column("until", BigInteger), Column("config_version", BigInteger, nullable=False, default=0),
    Column("sent", BigInteger, nullable=False, default=0), Column("epoch", ID, nullable=False, default=""))

# --- releases ----------------------------------------------------------------------------------------------

# Bundles that were verified; the files lie in the folder `updates`. chunks: the SHA-256 of each, one after another
bundles = Table(
    "bundles", metadata,
    Column("sha256", ID, primary_key=True), Column("name", String(200), nullable=False),
    Column("release", ID, nullable=False), Column("min_release", ID, nullable=False),
    Column("machine", ID, nullable=False), Column("size", BigInteger, nullable=False),
    Column("chunk_bytes", Integer, nullable=False), Column("chunks", LargeBinary, nullable=False),
    Column("built", BigInteger, nullable=False), Column("added", BigInteger, nullable=False))

# stages  JSON: how many terminals each reaches; stage: the one that it is in, from 0
rollouts = Table(
    "rollouts", metadata,
    Column("rollout_id", ID, primary_key=True), Column("sha256", ID, ForeignKey("bundles.sha256"), nullable=False),
    Column("state", ID, nullable=False), Column("stage", Integer, nullable=False),
    Column("stages", Text, nullable=False), Column("soak_s", BigInteger, nullable=False),
    Column("max_failures", Integer, nullable=False), Column("created", BigInteger, nullable=False),
    Column("why", Text, nullable=False, default=""))

# place   from 0, in the order in which they get it; faults: JSON
rollout_members = Table(
    "rollout_members", metadata,
    Column("rollout_id", ID, ForeignKey("rollouts.rollout_id", ondelete="CASCADE"), primary_key=True),
    _terminal(primary_key=True), Column("place", Integer, nullable=False), Column("state", ID, nullable=False),
    Column("since", BigInteger, nullable=False), Column("well_since", BigInteger),
    Column("faults", Text, nullable=False, default="[]"), Column("why", Text, nullable=False, default=""))

# Who did what to a roll-out, and what it did by itself; by: a token's id, "cli" or "hub"
rollout_steps = Table(
    "rollout_steps", metadata,
    Column("rollout_id", ID, ForeignKey("rollouts.rollout_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True), Column("at", BigInteger, nullable=False),
    Column("by", ID, nullable=False), Column("what", ID, nullable=False),
    Column("why", Text, nullable=False, default=""))

# --- events ------------------------------------------------------------------------------------------------

# No foreign key: what happened at a door outlives the door's entry here.
events = Table(
    "events", metadata,
    Column("terminal_id", ID, primary_key=True), Column("journal_id", ID, primary_key=True),
    Column("seq", BigInteger, primary_key=True), Column("received", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False, index=True), Column("mono", Float, nullable=False),
    Column("boot_id", String(200), nullable=False), Column("clock_quality", String(200), nullable=False),
    Column("kind", String(200), nullable=False), Column("reason", String(200), nullable=False),
    Column("person_id", String(200), index=True), Column("detail", Text, nullable=False),
    Column("prev_hash", String(200), nullable=False), Column("hash", String(200), nullable=False))

acked = Table(
    "acked", metadata,
    Column("terminal_id", ID, primary_key=True), Column("journal_id", ID, primary_key=True),
    Column("seq", BigInteger, nullable=False), Column("hash", String(200), nullable=False))

# --- webhooks ----------------------------------------------------------------------------------------------

# Whom events are sent to. sealed: address, secret and authority, under the hub's key
# kinds          of events, separated by spaces; empty for all
# cursor         the number in the outbox up to which this one is done
# tries          how often what follows the cursor has failed, since failing_since; again_at: when it is tried next
# ended          when it was given up
webhooks = Table(
    "webhooks", metadata,
    Column("webhook_id", ID, primary_key=True), Column("kinds", Text, nullable=False),
    Column("created", BigInteger, nullable=False), Column("sealed", LargeBinary, nullable=False),
    Column("cursor", BigInteger, nullable=False), Column("delivered", BigInteger, nullable=False, default=0),
    Column("passed_over", BigInteger, nullable=False, default=0), Column("tries", Integer, nullable=False, default=0),
    Column("failing_since", BigInteger), Column("again_at", BigInteger),
    Column("problem", Text, nullable=False, default=""), Column("ended", BigInteger))

# Events that some webhook wants, numbered in the order in which they were stored, until all that want them are done.
outbox = Table(
    "outbox", metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False), Column("terminal_id", ID, nullable=False),
    Column("journal_id", ID, nullable=False), Column("seq", BigInteger, nullable=False),
    Column("kind", String(200), nullable=False))

# --- keys and access ---------------------------------------------------------------------------------------

# The hub's own: "sign" (Ed25519) and "seal" (X25519), private halves sealed; whatever `ca` keeps besides.
hub_keys = Table(
    "hub_keys", metadata,
    Column("name", ID, primary_key=True), Column("purpose", ID, nullable=False, index=True),
    Column("public", LargeBinary, nullable=False), Column("sealed", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False), Column("retired", BigInteger))

# Of streams that many terminals follow: groups' and areas'.
stream_keys = Table(
    "stream_keys", metadata,
    Column("key_id", ID, primary_key=True), Column("stream", String(80), nullable=False, index=True),
    Column("created", BigInteger, nullable=False), Column("retired", BigInteger),
    Column("sealed", LargeBinary, nullable=False))

tokens = Table(
    "tokens", metadata,
    Column("token_id", ID, primary_key=True), Column("hash", LargeBinary, nullable=False, unique=True),
    Column("scope", ID, nullable=False), Column("title", Text, nullable=False, default=""),
    Column("created", BigInteger, nullable=False), Column("expires", BigInteger), Column("revoked", BigInteger))

# Rows of imports that are done, by a keyed hash, so that an import that was cut short goes on where it stopped.
imported = Table(
    "imported", metadata,
    Column("line", LargeBinary, primary_key=True), Column("person_id", ID, nullable=False),
    Column("at", BigInteger, nullable=False))
