"""Two terminals and a hub through random orders of operations and faults, against a model of who is to be admitted.

DOOR_ORDERS says how many operations there are in all (`make faults`: 20 000, chosen anew each time; by default a
fiftieth of that, always the same, so that whoever breaks something is who finds it).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sync_world import World

ORDERS = int(os.environ.get("DOOR_ORDERS", "400"))
STEPS = 50
DOORS = ("t1", "t2")
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
    """The model: who is in which groups, and which groups each door serves."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="orders-"))
        self.world = World(self.folder, Blank(), seed)
        self.people: dict[str, tuple[str, ...]] = {}
        self.serves: dict[str, tuple[str, ...]] = {}
        self.ever: dict[str, set[str]] = {"staff": set(), "lab": set()}  # who ever belonged to a group
        self.removed: set[str] = set()
        self.next = 1
        self.kept: tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]] | None = None
        self.was_door_set_back = False
        for name in DOORS:
            self.world.add_door(name, ("staff",))
            self.serves[name] = ("staff",)

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
        self._joins(person_id, groups)

    @rule(door=doors, groups=some_groups)
    def serve(self, door: str, groups: tuple[str, ...]) -> None:
        self.world.hub.fleet.set_groups(door, groups)
        self.serves[door] = groups

    @rule(door=doors, count=st.integers(1, 5))
    def happens(self, door: str, count: int) -> None:
        self.world.doors[door].happens(count)

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.5, 0.5, 5.0, 60.0, 3600.0, 86400.0]))
    def wait(self, seconds: float) -> None:
        self.world.round(seconds)

    @rule(group=st.sampled_from(["staff", "lab"]))
    def replace_key(self, group: str) -> None:
        self.world.hub.keys.rotate(group)

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
        self.kept = (dict(self.people), dict(self.serves))

    # A hub that is set back to before a terminal was may be told some events of that terminal under two journals.
    @precondition(lambda self: self.kept and not self.was_door_set_back)
    @rule()
    def set_hub_back(self) -> None:
        self.world.restore_hub("kept.db")
        people, self.serves = dict(self.kept[0]), dict(self.kept[1])
        self.people = {person_id: groups for person_id, groups in people.items() if person_id not in self.removed}
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
        self.was_door_set_back = True
        self.world.count_losses()

    # --- what must hold ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            world.mischief = None
            for door in world.doors.values():
                world.mend(door)
            world.settle(180)
            for name, door in world.doors.items():
                served = set(self.serves[name])
                expected = {person_id for person_id, groups in self.people.items() if served & set(groups)}
                assert door.admitted() == expected
        finally:
            world.close()
            shutil.rmtree(self.folder)

    def _joins(self, person_id: str, groups: tuple[str, ...]) -> None:
        self.people[person_id] = groups
        for group in groups:
            self.ever[group].add(person_id)


Orders.TestCase.settings = settings(
    max_examples=max(1, ORDERS // STEPS), stateful_step_count=STEPS, deadline=None,
    derandomize="DOOR_ORDERS" not in os.environ,
    suppress_health_check=list(HealthCheck), print_blob=True,
    phases=[Phase.explicit, Phase.generate])  # an order takes seconds: shrinking one would take hours
TestOrders = Orders.TestCase
