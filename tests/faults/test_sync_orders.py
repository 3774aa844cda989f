"""Two terminals and a hub through random orders of operations and faults, against a model of who is to be admitted.

DOOR_ORDERS says how many operations there are in all (`make faults`: 20 000, chosen anew each time; by default a
fiftieth of that, always the same, so that whoever breaks something is who finds it).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from fault_figures import Figure
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sync_samples import SITE
from sync_world import World

from device.store import body
from device.store.records import Position
from device.store.trust import MessageRefused, open_envelope, signed_bytes
from sync.hub.errors import InTheWay
from sync.wire import topics
from sync.wire.sign import Signer
from sync.wire.streams import AREA, scope_of

ORDERS = int(os.environ.get("DOOR_ORDERS", "400"))
STEPS = 50
DOORS = ("t1", "t2")
STRANGER = Signer(b"s" * 32)
doors = st.sampled_from(DOORS)
some_groups = st.sampled_from([("staff",), ("lab",), ("staff", "lab")])


class Blank:
    """Where the blank hub that every world begins with is made, once."""

    folder = Path(tempfile.mkdtemp(prefix="blank-hub-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def mktemp(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path


class Orders(RuleBasedStateMachine):
    """The model: who is in which groups, which groups each door serves, and which mode it is to hold."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="orders-"))
        self.world = World(self.folder, Blank(), seed)
        self.people: dict[str, tuple[str, ...]] = {}
        self.serves: dict[str, tuple[str, ...]] = {}
        self.modes: dict[str, str] = {}
        self.removed: set[str] = set()
        self.ended: set[tuple[str, str]] = set()  # who left which group since the hub was backed up: for good
        self.next = 1
        self.kept: Kept | None = None
        self.old: list[tuple[str, bytes]] = []  # what the broker's operator has kept
        for name in DOORS:
            self.world.add_door(name, ("staff",))
            self.serves[name], self.modes[name] = ("staff",), "normal"

    # --- operations --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), groups=some_groups)
    def enrol(self, count: int, groups: tuple[str, ...]) -> None:
        for person_id in self.world.enrol(count, self.next, groups):
            self._joins(person_id, groups)
        self.next += count

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.people)), min_size=1, max_size=4))
        self.world.hub.people.remove(gone)
        self.removed |= gone
        for person_id in gone:
            del self.people[person_id]

    @precondition(lambda self: self.people)
    @rule(data=st.data(), groups=some_groups)
    def move(self, data: st.DataObject, groups: tuple[str, ...]) -> None:
        person_id = data.draw(st.sampled_from(sorted(self.people)))
        self.world.hub.people.set_groups(person_id, groups)
        self.ended |= {(person_id, group) for group in self.people[person_id] if group not in groups}
        self._joins(person_id, groups)

    @rule(door=doors, groups=some_groups)
    def serve(self, door: str, groups: tuple[str, ...]) -> None:
        self.world.hub.fleet.set_groups(door, groups)
        self.ended |= {(door, group) for group in self.serves[door] if group not in groups}
        self.serves[door] = groups

    @rule(door=doors, areas=st.sampled_from([(), ("hall",), ("hall", "lab")]))
    def join(self, door: str, areas: tuple[str, ...]) -> None:
        """The policy names these areas, and the ordinary rules."""
        self.world.hub.policies.put(door, policy_of(areas))

    @precondition(lambda self: self.people)
    @rule(door=doors, area=st.sampled_from(["hall", "lab", "attic", None]), data=st.data())
    def pass_by(self, door: str, area: str | None, data: st.DataObject) -> None:
        """Somebody enters an area, which may be none of the door's, or leaves."""
        person_id = data.draw(st.sampled_from(sorted(self.people)))
        self.world.doors[door].passes(person_id, area)

    @rule(door=doors, count=st.integers(1, 5))
    def happens(self, door: str, count: int) -> None:
        self.world.doors[door].happens(count)

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.5, 0.5, 5.0, 60.0, 3600.0, 86400.0]))
    def wait(self, seconds: float) -> None:
        self.world.round(seconds)

    @rule(group=st.sampled_from(["staff", "lab"]))
    def replace_key(self, group: str) -> None:
        self.world.hub.keys.rotate(f"group/{group}")

    @rule(is_forced=st.booleans())
    def replace_hub_keys(self, is_forced: bool) -> None:
        own = self.world.hub.keys.own
        with contextlib.suppress(InTheWay):
            if own.standing().is_under_way:
                own.retire(is_forced)
            else:
                own.rotate()

    @rule(door=doors)
    def command(self, door: str) -> None:
        with contextlib.suppress(InTheWay):  # it has not reported yet
            self.world.hub.orders.command(door, "release", 3.0)

    @rule(door=doors, mode=st.sampled_from(["normal", "free", "lockdown"]))
    def want(self, door: str, mode: str) -> None:
        self.world.hub.orders.want(door, mode)
        self.modes[door] = mode

    # --- faults ------------------------------------------------------------------------------------------

    @rule(door=doors)
    def cut(self, door: str) -> None:
        self.world.cut(self.world.doors[door])

    @rule(door=doors)
    def mend(self, door: str) -> None:
        self.world.mend(self.world.doors[door])

    @rule(door=doors)
    def kill_syncd(self, door: str) -> None:
        self.world.doors[door].restart()

    @rule()
    def kill_hub(self) -> None:
        self.world.restart_hub()

    @rule()
    def lose_broker(self) -> None:
        self.world.lose_broker()

    @rule(seconds=st.sampled_from([-10 * 366 * 86400.0, 3600.0, 30 * 366 * 86400.0]), door=doors)
    def step_clock(self, seconds: float, door: str) -> None:
        clock = self.world.doors[door].clock
        clock.step_wall((self.world.clock.now() - clock.now()).total_seconds() + seconds)

    @rule(door=doors)
    def fill_disk(self, door: str) -> None:
        self.world.doors[door].fill_disk()

    @rule(door=doors)
    def free_disk(self, door: str) -> None:
        self.world.doors[door].free_disk()

    @rule(door=doors)
    def lose_journal(self, door: str) -> None:
        self.world.doors[door].lose_journal()

    @rule(door=doors, place=st.integers(0, 39))
    def forge(self, door: str, place: int) -> None:
        """Something that passed before, signed by a stranger who calls the key the hub's, or moved elsewhere."""
        seen = self.world.seen[-40:]
        if not seen:
            return
        topic, sent = seen[place % len(seen)]
        held = self.world.doors[door]
        own = topics.PAGES.of(SITE, door)
        for forged in ((topic, forged_by(STRANGER, topic, sent)), (own, forged_by(STRANGER, own, sent)), (own, sent)):
            held.net.bring(forged)

    @rule(door=doors)
    def poison(self, door: str) -> None:
        """The next page makes door-syncd fail."""
        downstream = self.world.doors[door].agent.downstream
        real = downstream.page

        def fail(*arguments: object) -> None:
            downstream.page = real
            raise RuntimeError("a fault of ours")

        downstream.page = fail

    @rule(door=doors, place=st.integers(0, 399))
    def replay(self, door: str, place: int) -> None:
        """The broker plays to a door what it kept long ago, whole conversations in their order."""
        first = place % max(len(self.old), 1)
        self.world.doors[door].net.bring(*self.old[first:first + 40])

    @rule(share=st.sampled_from([0.0, 0.0, 0.2, 0.6]))
    def harm(self, share: float) -> None:
        chance, late = self.world.chance, []

        def mischief(topic: str, data: bytes) -> list[tuple[str, bytes]]:
            if chance.random() >= share:
                return [(topic, data)]
            at = chance.randrange(len(data))
            flipped = data[:at] + bytes([data[at] ^ 16]) + data[at + 1:]
            late.append((topic, data))
            another, first = chance.choice(late), late[0]
            harmed = [[], [(topic, data)] * 2, [first], [another], [(topic, data[:at])], [(topic, flipped)]]
            return chance.choice(harmed)

        self.world.mischief = mischief if share else None

    @rule()
    def back_up_hub(self) -> None:
        self.world.backup_hub("kept.db")
        self.kept = Kept(dict(self.people), dict(self.serves), dict(self.modes))
        self.ended.clear()

    @precondition(lambda self: self.kept)
    @rule()
    def set_hub_back(self) -> None:
        self.world.restore_hub("kept.db")
        self.serves = self._without_what_ended(self.kept.serves)
        self.people = self._without_what_ended({one: groups for one, groups in self.kept.people.items()
                                                if one not in self.removed})
        # What was wanted since is known to the doors alone; so the administrator says it again.
        for door, mode in self.kept.modes.items():
            self.want(door, mode)
        self.world.count_losses()

    @rule(door=doors)
    def back_up_door(self, door: str) -> None:
        held = self.world.doors[door]
        held.stop()
        shutil.rmtree(self.folder / f"kept-{door}", ignore_errors=True)
        shutil.copytree(held.where.root, self.folder / f"kept-{door}")
        held.start()

    @rule(door=doors)
    def set_door_back(self, door: str) -> None:
        kept = self.folder / f"kept-{door}"
        if not kept.exists():
            return
        held = self.world.doors[door]
        held.stop()
        shutil.rmtree(held.where.root)
        shutil.copytree(kept, held.where.root)
        held.start()
        self.world.count_losses()

    # --- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def nobody_is_admitted_who_should_not_be(self) -> None:
        """Whatever happens, a door knows nobody but those who belonged to its groups when it last heard of them, and
        no command moves a relay twice."""
        if not hasattr(self, "world"):
            return
        self.world.take_note()
        self.old += [(topic, data) for topic, data in self.world.seen if "/pages" in topic or "/head" in topic]
        del self.old[:-400]
        self.world.seen.clear()
        for door in self.world.doors.values():
            assert door.admitted() <= door.members(), door.terminal_id
            assert not [command for command, times in door.released.items() if times > 1]

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            world.mischief = None
            for door in world.doors.values():
                world.mend(door)
                door.free_disk()
            for _ in range(4):
                world.round(45.0)  # backoffs, time-outs and pauses of a hub that was set back are over
            world.settle(180)
            for name, door in world.doors.items():
                served = set(self.serves[name])
                expected = {person_id for person_id, groups in self.people.items() if served & set(groups)}
                assert door.admitted() == expected
                assert door.positions() == self._positions(name)
                assert door.mode == self.modes[name]
        finally:
            world.close()
            shutil.rmtree(self.folder)

    def _without_what_ended(self, groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {one: tuple(group for group in those if (one, group) not in self.ended)
                for one, those in groups.items()}

    def _positions(self, door: str) -> dict[str, str]:
        """Where people are, of whom the areas of a door know, as the hub has it."""
        hub, found = self.world.hub, {}
        for stream in hub.fleet.streams_of(door):
            if scope_of(stream) == AREA:
                for change in hub.ledger.living(stream).changes:
                    position = body.decode(Position, change.body)
                    found[position.person_id, position.at] = position.area_id
        assert {person_id for person_id, _ in found} <= self.people.keys()
        present = {(one.person_id, one.area_id) for one in hub.positions.present()}
        newest = {person_id: area for (person_id, _), area in sorted(found.items())}
        assert all((person_id, area) in present for person_id, area in newest.items() if area)
        return newest

    def _joins(self, person_id: str, groups: tuple[str, ...]) -> None:
        self.people[person_id] = groups


@dataclass(frozen=True)
class Kept:
    """What the model was when the hub was backed up."""

    people: dict[str, tuple[str, ...]]
    serves: dict[str, tuple[str, ...]]
    modes: dict[str, str]


def policy_of(areas: tuple[str, ...]) -> str:
    rules = [f'[[rule]]\nid = "{group}"\ngroup = "{group}"\n' for group in ("lab", "staff")]
    doors = [f'[[area]]\nid = "{area}"\n\n[[door]]\nid = "{area}"\ninside = "{area}"\n' for area in areas]
    return "\n".join([*rules, *doors])


def forged_by(stranger: Signer, topic: str, data: bytes) -> bytes:
    """The same payload under another signature, which says that it is the one who signed before."""
    try:
        envelope = open_envelope(data)
    except MessageRefused:
        return data
    signature = stranger.sign(signed_bytes(topic, envelope.payload))
    return msgspec.msgpack.encode(msgspec.structs.replace(envelope, signature=signature))


Orders.TestCase.settings = settings(
    max_examples=max(1, ORDERS // STEPS), stateful_step_count=STEPS, deadline=None,
    derandomize="DOOR_ORDERS" not in os.environ,
    suppress_health_check=list(HealthCheck), print_blob=True,
    phases=[Phase.explicit, Phase.generate])  # an order takes seconds: shrinking one would take hours
TestOrders = Orders.TestCase


@pytest.fixture(autouse=True)
def _stated(figure: Figure) -> Iterator[None]:
    yield
    figure("F18", f"{max(1, ORDERS // STEPS)} random orders of {STEPS} operations and faults at two terminals and a "
                  "hub: 0 ended unequal, 0 admitted who should not be")
