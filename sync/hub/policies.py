"""The policy of each terminal: rules, schedules, holidays, modes, areas and doors, from the text that `doorctl
policy` takes on a stand-alone terminal.

As long as a terminal was given no policy, whoever belongs to a group that it serves is let in by face at any time
(`fleet`). From its first policy on, the policy alone says who enters, whatever groups the terminal comes to serve;
where it is taken away, the ordinary rules are back. A policy is a terminal's own, or has a name and is shared by all
that follow it. What a terminal goes by lies in its own stream, and is replaced there whole, in one transaction.

Called by the API and the CLI.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter

import sqlalchemy as sa

from device.clock import Clock
from device.errors import ConfigError
from device.policy_file import parse_policy, review
from device.policy_text import policy_toml
from device.store import body
from device.store.policy_records import KINDS, PolicyRecords, joined_areas
from sync.hub.areas import Areas
from sync.hub.errors import FieldRefused, InTheWay, NotThere, PolicyRefused
from sync.hub.fleet import Fleet, ordinary_rule
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.schema import changes, memberships, policies, streams, terminal_areas, terminal_policies
from sync.hub.storage import Storage, Tx, in_parts, insert_or_update
from sync.hub.times import milliseconds, moment
from sync.hub.vault import Vault
from sync.wire.streams import owner_of, terminal_stream
from sync.wire.topics import checked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST = 250_000
ADMITTING = ("rule", "mode")  # the kinds that let anybody in: what of them is gone stays gone (`endings`)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a terminal goes by.

    policy_id  the name of the shared policy that it follows; None where this one is its own
    version    as the terminal's journal names it
    text       the file that reads as its records
    warnings   what is odd about it, one line each
    """

    terminal_id: str
    policy_id: str | None
    version: str
    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """A policy with a name. terminals: those that follow it; text as it was given."""

    policy_id: str
    version: str
    text: str
    terminals: tuple[str, ...]
    changed: datetime
    warnings: tuple[str, ...] = ()


class Policies:
    """Of every terminal of one hub; any thread may use it."""

    def __init__(self, storage: Storage, vault: Vault, ledger: Ledger, fleet: Fleet, areas: Areas,
                 clock: Clock) -> None:
        self._storage, self._vault, self._ledger, self._areas = storage, vault, ledger, areas
        self._fleet, self._clock = fleet, clock

    # --- of one terminal -------------------------------------------------------------------------------------

    def put(self, terminal_id: str, text: str) -> Policy:
        """Give a terminal a policy of its own. PolicyRefused names every fault; nothing is changed then."""
        records = read(text)
        with self._storage.write() as tx:
            self._fleet.get(terminal_id)
            self._bind(tx, terminal_id, None)
            self._apply(tx, terminal_id, records)
            return self.get(terminal_id)

    def follow(self, terminal_id: str, policy_id: str) -> Policy:
        """Have a terminal go by a shared policy from now on."""
        with self._storage.write() as tx:
            self._fleet.get(terminal_id)
            records = read(self._text(tx, policy_id))
            self._bind(tx, terminal_id, policy_id)
            self._apply(tx, terminal_id, records)
            return self.get(terminal_id)

    def remove(self, terminal_id: str) -> None:
        """Take a terminal's policy away: whoever belongs to a served group is let in again. NotThere where it has
        none."""
        with self._storage.write() as tx:
            served = self._fleet.get(terminal_id).groups
            own = terminal_policies.c.terminal_id == terminal_id
            if not tx.run(sa.delete(terminal_policies).where(own)).rowcount:
                raise NotThere(f"terminal {terminal_id} was given no policy")
            self._apply(tx, terminal_id, PolicyRecords(rules=tuple(map(ordinary_rule, served))))

    def get(self, terminal_id: str) -> Policy:
        """What a terminal goes by. NotThere where it was given no policy."""
        with self._storage.read() as tx:
            served = self._fleet.get(terminal_id).groups
            bound = tx.one(sa.select(terminal_policies).where(terminal_policies.c.terminal_id == terminal_id))
            if bound is None:
                raise NotThere(f"terminal {terminal_id} was given no policy: whoever belongs to a group that it "
                               "serves is let in by face at any time")
            records = self.records(terminal_id)
            found = review(records, self._known(tx, served))
        return Policy(terminal_id, bound.policy_id, records.version, policy_toml(records), found.warnings)

    def records(self, terminal_id: str) -> PolicyRecords:
        """The records that a terminal goes by, its ordinary rules where it was given no policy."""
        held = self._held(terminal_id)
        return PolicyRecords(*(tuple(body.decode(shape, held[one]) for one in sorted(held) if one[0] == kind)
                               for kind, (shape, _) in KINDS.items()))

    # --- shared ----------------------------------------------------------------------------------------------

    def put_shared(self, policy_id: str, text: str) -> Shared:
        """Make or replace a policy of that name; every terminal that follows it goes by it from now on, in the same
        transaction."""
        try:
            checked(policy_id)
        except ValueError as error:
            raise FieldRefused("policy_id", str(error)) from None
        records = read(text)
        with self._storage.write() as tx:
            insert_or_update(tx, policies, [{
                "policy_id": policy_id, "changed": milliseconds(self._clock.now()),
                "sealed": self._vault.seal("", text.encode(), "policy", policy_id)}])
            for terminal_id in self._followers(tx, policy_id):
                self._apply(tx, terminal_id, records)
            return self.get_shared(policy_id)

    def get_shared(self, policy_id: str) -> Shared:
        """NotThere where there is none of that name."""
        with self._storage.read() as tx:
            text = self._text(tx, policy_id)
            changed = tx.value(sa.select(policies.c.changed).where(policies.c.policy_id == policy_id))
            followers = self._followers(tx, policy_id)
            warnings = [f"terminal {one}: {line}" for one in followers for line in self.get(one).warnings]
        records = read(text)
        return Shared(policy_id, records.version, text, followers, moment(changed),
                      tuple(warnings) if followers else review(records).warnings)

    def remove_shared(self, policy_id: str) -> None:
        """InTheWay while a terminal follows it."""
        with self._storage.write() as tx:
            self._text(tx, policy_id)
            if followers := self._followers(tx, policy_id):
                raise InTheWay(f"policy {policy_id} is followed by {', '.join(followers)[:200]}; give them another "
                               "one first")
            tx.run(sa.delete(policies).where(policies.c.policy_id == policy_id))

    def shared(self) -> list[Shared]:
        """Every policy that has a name."""
        with self._storage.read() as tx:
            return [self.get_shared(row.policy_id)
                    for row in tx.all(sa.select(policies.c.policy_id).order_by(policies.c.policy_id))]

    def follow_areas(self) -> None:
        """Have terminals follow the areas that their policies name: those that were given one before areas had
        streams."""
        with self._storage.write() as tx:
            for terminal_id in _with_doors_but_no_areas(tx):
                self._areas.set(tx, terminal_id, joined_areas(self.records(terminal_id).doors))

    # --- inside ----------------------------------------------------------------------------------------------

    def _bind(self, tx: Tx, terminal_id: str, policy_id: str | None) -> None:
        insert_or_update(tx, terminal_policies, [{"terminal_id": terminal_id, "policy_id": policy_id}])

    def _apply(self, tx: Tx, terminal_id: str, records: PolicyRecords) -> None:
        """Replace all that a terminal goes by; what stays the same is not told again."""
        held = self._held(terminal_id)
        wanted = {(kind, key): body.encode(record) for kind, key, record in records.keyed()}
        gone = [one for one in held if one not in wanted]
        self._ledger.append(terminal_stream(terminal_id), [
            *(Drop(*one) for one in gone),
            *(Put(*one, data) for one, data in wanted.items() if held.get(one) != data)], tx)
        self._areas.set(tx, terminal_id, joined_areas(records.doors))
        for kind, key in gone:
            if kind in ADMITTING:
                tx.ended("dropped", terminal_id, kind, key)

    def _held(self, terminal_id: str) -> dict[tuple[str, str], bytes]:
        return {(one.kind, one.key): one.body
                for one in self._ledger.living(terminal_stream(terminal_id)).changes if one.kind in KINDS}

    def _text(self, tx: Tx, policy_id: str) -> str:
        row = tx.one(sa.select(policies.c.sealed).where(policies.c.policy_id == policy_id))
        if row is None:
            raise NotThere(f"there is no policy {policy_id[:60]!r}")
        return self._vault.open_one("", row.sealed, "policy", policy_id).decode()

    def _followers(self, tx: Tx, policy_id: str) -> tuple[str, ...]:
        return tuple(row.terminal_id for row in tx.all(
            sa.select(terminal_policies.c.terminal_id).where(terminal_policies.c.policy_id == policy_id)
            .order_by(terminal_policies.c.terminal_id)))

    def _known(self, tx: Tx, served: tuple[str, ...]) -> frozenset[str]:
        """Every group that somebody belongs to who is known at a terminal which serves these."""
        members = sa.select(memberships.c.person_id).where(memberships.c.group_id.in_(served))
        return frozenset(row.group_id for row in tx.all(
            sa.select(memberships.c.group_id).where(memberships.c.person_id.in_(members)).distinct()))


def _with_doors_but_no_areas(tx: Tx) -> set[str]:
    """Terminals that have a policy with doors, and follow no area. Asked at every start, so records are not read."""
    following = sa.select(terminal_areas.c.terminal_id)
    others = tx.all(sa.select(terminal_policies.c.terminal_id).where(
        terminal_policies.c.terminal_id.not_in(following)))
    doors = sa.select(streams.c.stream).join(changes, changes.c.stream_id == streams.c.stream_id).where(
        changes.c.kind == "door", changes.c.leaf.is_not(None)).distinct()
    return {owner_of(row.stream) for part in in_parts([terminal_stream(row.terminal_id) for row in others])
            for row in tx.all(doors.where(streams.c.stream.in_(part)))}


def read(text: str) -> PolicyRecords:
    """The records of a policy's text; PolicyRefused names everything that is wrong with it."""
    if len(text) > LONGEST:
        raise PolicyRefused([f"at most {LONGEST} characters"])
    try:
        records = parse_policy(tomllib.loads(text), "policy")
    except ConfigError as error:
        raise PolicyRefused([line.removeprefix("policy: ") for line in str(error).splitlines()]) from None
    except (ValueError, RecursionError) as error:
        raise PolicyRefused([f"no TOML: {str(error).splitlines()[0]}"]) from None
    names = [(kind, key) for kind, key, _ in records.keyed()]
    names += [("area", area) for area in sorted(joined_areas(records.doors)) if ("area", area) not in names]
    if faults := [fault for kind, key in names if (fault := _misnamed(kind, key))]:
        raise PolicyRefused(faults)
    # By id, as they lie in a terminal: its order is part of the version.
    return PolicyRecords(*(tuple(sorted(getattr(records, entry.name), key=attrgetter(key)))
                           for entry, (_, key) in zip(fields(records), KINDS.values(), strict=True)))


def _misnamed(kind: str, key: str) -> str:
    """Why no message could carry a record of this id; empty where one can."""
    try:
        checked(key)
    except ValueError:
        return (f"{kind} {key}: an id has 1 to 48 of the letters a to z, digits, '-', '_' and '.', and begins with a "
                "letter or digit")
    return ""
