"""Roll-outs with a real hub, real door-syncds and the real updater, over a network that the test rules."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sync_world import Door, World
from update_samples import OURS, at, root, signers, tiny_bundle

from device.update.bundle import BundleRefused
from device.update.outcome import Result
from sync.agent.agent import Agent
from sync.hub import deliveries
from sync.hub.bundles import Kept
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.members import State
from sync.hub.rollout import Asked, Phase, Rollout
from sync.wire.releases import ChunkRequest
from sync.wire.topics import UPDATE

CHUNK = 4096
MINUTE = timedelta(minutes=1)


class Fleet(World):
    """A world whose doors have releases, and a hub that trusts who signs them."""

    def __init__(self, folder: Path, factory) -> None:
        super().__init__(folder, factory)
        path = folder / "1.root.json"
        path.write_bytes(root(OURS))
        self.hub.bundles.trust(path)

    def bundle(self, release: str = "1.2.0", **more) -> Kept:
        padding = more.pop("padding", 60_000)
        return self.hub.bundles.add(tiny_bundle(self.folder, release, padding=padding, **more), CHUNK)

    def start(self, kept: Kept, *terminals: str, **more) -> str:
        asked = Asked(terminals=terminals, soak=more.pop("soak", 5 * MINUTE), **more)
        return self.hub.rollouts.start(kept, asked, "cli")

    def meet(self) -> None:
        """Until every door that is there was heard of."""
        def is_met(name: str) -> bool:
            found = self.hub.fleet.get(name)
            return bool(found.is_online and found.reported)

        self.until(lambda: all(door.is_cut or is_met(name) for name, door in self.doors.items()), 20)

    def until(self, is_so, seconds: float = 120.0) -> float:
        passed = 0.0
        while not is_so():
            assert passed < seconds, [one.line() for one in self.hub.rollouts.all()] + [
                f"{member.terminal_id} {member.state.value} {member.why}"
                for one in self.hub.rollouts.all() for member in one.members]
            self.round()
            passed += 0.5
        return passed

    def pass_by(self, span: timedelta) -> None:
        for _ in range(int(span.total_seconds() / 5)):
            self.round(5.0)

    def get(self, rollout_id: str) -> Rollout:
        return self.hub.rollouts.get(rollout_id)

    def states(self, rollout_id: str) -> list[str]:
        return [member.state.value for member in self.get(rollout_id).members]

    def is_phase(self, rollout_id: str, phase: Phase):
        return lambda: self.get(rollout_id).phase is phase


@pytest.fixture
def fleet(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    fleet = Fleet(tmp_path, tmp_path_factory)
    yield fleet
    fleet.close()


def three(fleet: Fleet) -> tuple[Door, Door, Door]:
    doors = tuple(fleet.add_door(name, release="1.0.0") for name in ("t1", "t2", "t3"))
    fleet.meet()
    return doors  # type: ignore[return-value]


def test_a_release_reaches_one_terminal_and_after_the_soak_time_all(fleet: Fleet) -> None:
    one, two, last = three(fleet)
    rollout = fleet.start(fleet.bundle(), "t1", "t2", "t3", stages="1,100%")
    fleet.until(lambda: fleet.states(rollout)[0] == "downloading")
    fleet.until(lambda: fleet.states(rollout) == ["updated", "waiting", "waiting"])
    assert (one.machine.runs, two.machine.runs, last.machine.runs) == ("1.2.0", "1.0.0", "1.0.0")
    fleet.pass_by(4 * MINUTE)
    assert fleet.get(rollout).stage == 0
    assert two.agent.intake.update is None
    fleet.pass_by(2 * MINUTE)
    assert fleet.get(rollout).stage == 1
    fleet.until(lambda: fleet.states(rollout) == ["updated"] * 3)
    assert fleet.get(rollout).phase is Phase.RUNNING
    fleet.pass_by(6 * MINUTE)
    assert fleet.get(rollout).phase is Phase.DONE
    assert {door.machine.runs for door in (one, two, last)} == {"1.2.0"}
    assert [(step.what, step.by) for step in fleet.hub.rollouts.steps(rollout)] == [
        ("started", "cli"), ("stage", "hub"), ("done", "hub")]
    assert fleet.is_settled(), fleet.complaints()


def test_people_arrive_and_events_leave_while_a_release_is_fetched(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    rollout = fleet.start(fleet.bundle(padding=400_000), "t1")
    fleet.until(lambda: fleet.states(rollout) == ["downloading"])
    fleet.enrol(20)
    door.happens(30)
    fleet.until(fleet.is_settled, 10)
    assert fleet.states(rollout) == ["downloading"]


def test_killed_cut_and_forgotten_at_any_moment_it_still_arrives(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    kept = fleet.bundle(padding=300_000)
    rollout = fleet.start(kept, "t1")
    chance, blows, done = random.Random(3), Counter(), 0
    while fleet.states(rollout)[0] in ("waiting", "downloading"):
        for _ in range(chance.randint(2, 8)):
            fleet.round()
        update = door.agent.intake.update
        assert update is None or update.state != "downloading" or update.done >= done
        done = update.done if update is not None else done
        blow = ("kill", "hub", "broker", "cable")[sum(blows.values()) % 4]
        blows[blow] += 1
        if blow == "kill":
            door.restart()
        elif blow == "hub":
            fleet.restart_hub()
        elif blow == "broker":
            fleet.lose_broker()
        else:
            fleet.cut(door)
            fleet.round(20)
            fleet.mend(door)
        assert sum(blows.values()) < 300
    fleet.until(lambda: fleet.states(rollout) == ["updated"])
    assert len(blows) == 4
    assert door.machine.runs == "1.2.0"


def test_chunks_doubled_reordered_flipped_and_lost_are_made_up_for(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    rollout = fleet.start(fleet.bundle(padding=100_000), "t1")
    chance, held = random.Random(4), []

    def harm(topic: str, data: bytes) -> list[tuple[str, bytes]]:
        one, kind, place = (topic, data), chance.randrange(6), chance.randrange(len(data))
        if not topic.endswith("/" + UPDATE.leaf) or kind == 5:
            return [one]
        if kind == 4:
            held.append(one)
            return []
        flipped = (topic, data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
        return [[], [one, one], [flipped], [one, *held]][kind]

    fleet.mischief = harm
    fleet.until(lambda: fleet.states(rollout) == ["updated"], 2000)
    assert door.machine.runs == "1.2.0"
    assert fleet.get(rollout).count(State.FAILED) == 0


def test_a_terminal_that_is_away_holds_its_stage_and_is_served_when_it_returns(fleet: Fleet) -> None:
    one, _, last = three(fleet)
    fleet.cut(one)
    rollout = fleet.start(fleet.bundle(), "t2", "t1", "t3", stages="2,100%", soak=MINUTE)
    fleet.until(lambda: fleet.states(rollout)[0] == "updated")
    fleet.pass_by(10 * MINUTE)
    assert fleet.states(rollout) == ["updated", "waiting", "waiting"]
    assert last.agent.intake.update is None
    fleet.mend(one)
    fleet.until(fleet.is_phase(rollout, Phase.DONE), 1200)
    assert (one.machine.runs, last.machine.runs) == ("1.2.0", "1.2.0")


def test_a_failure_stops_it_before_anybody_else_is_offered_anything(fleet: Fleet) -> None:
    one, two, last = three(fleet)
    one.machine.health = lambda age_s: {"relay_alive": False} if one.machine.runs == "1.2.0" else {}
    rollout = fleet.start(fleet.bundle(), "t1", "t2", "t3", stages="1,100%")
    fleet.until(fleet.is_phase(rollout, Phase.STOPPED), 300)
    assert fleet.states(rollout) == ["failed", "waiting", "waiting"]
    assert fleet.get(rollout).why == ("1 failed, 0 are allowed; the last: t1, rolled back: it is not well: "
                                      "relay_lost")
    assert one.machine.runs == "1.0.0"
    fleet.pass_by(10 * MINUTE)
    assert two.agent.intake.update is None and last.agent.intake.update is None
    assert fleet.side.counts()["offers"] == 1
    with pytest.raises(InTheWay, match="is stopped"):
        fleet.hub.rollouts.resume(rollout, "cli")


def test_failures_that_are_allowed_do_not_hold_the_others(fleet: Fleet) -> None:
    one, two, last = three(fleet)
    one.machine.installer.fault = "no space left"
    rollout = fleet.start(fleet.bundle(), "t1", "t2", "t3", stages="2,100%", soak=MINUTE, max_failures=1)
    fleet.until(fleet.is_phase(rollout, Phase.DONE), 1200)
    assert fleet.states(rollout) == ["failed", "updated", "updated"]
    assert (one.machine.runs, two.machine.runs, last.machine.runs) == ("1.0.0", "1.2.0", "1.2.0")
    assert one.machine.outcome.result is Result.REFUSED


def test_where_everyone_of_a_stage_has_failed_it_waits_for_somebody_to_look(fleet: Fleet) -> None:
    one, *_ = three(fleet)
    one.machine.installer.fault = "no space left"
    rollout = fleet.start(fleet.bundle(), "t1", "t2", "t3", stages="1,100%", max_failures=2)
    fleet.until(fleet.is_phase(rollout, Phase.PAUSED), 300)
    assert fleet.get(rollout).why == "everyone of this stage has failed"


def test_a_fault_that_came_with_the_release_holds_the_stage_and_then_counts_as_a_failure(
        fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    three(fleet)
    faults = {"t1": ("camera_lost",)}
    monkeypatch.setattr(Agent, "faults", lambda self: faults.get(self.config.terminal_id, ()))
    fleet.pass_by(2 * MINUTE)
    before = fleet.start(fleet.bundle("1.1.0"), "t1", soak=MINUTE)
    fleet.until(fleet.is_phase(before, Phase.DONE), 300)  # it was there before
    faults.clear()
    fleet.pass_by(2 * MINUTE)
    rollout = fleet.start(fleet.bundle("1.2.0", made=at(1)), "t1", "t2", stages="1,2", soak=2 * MINUTE)
    fleet.until(lambda: fleet.states(rollout)[0] == "updated")
    faults["t1"] = ("camera_lost",)
    fleet.pass_by(5 * MINUTE)
    assert (fleet.states(rollout), fleet.get(rollout).members[0].why) == (["updated", "waiting"], "camera_lost")
    fleet.pass_by(60 * MINUTE)
    assert fleet.get(rollout).phase is Phase.STOPPED
    assert fleet.get(rollout).why.endswith("t1, camera_lost, for over an hour")


def test_paused_nothing_is_sent_and_resumed_it_goes_on_at_once(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    rollout = fleet.start(fleet.bundle(padding=200_000), "t1")
    fleet.until(lambda: door.agent.intake.update is not None and door.agent.intake.update.done > 8)
    fleet.hub.rollouts.pause(rollout, "cli", "lunch")
    fleet.pass_by(MINUTE)
    chunks = fleet.side.counts()["chunks"]
    fleet.pass_by(20 * MINUTE)
    assert fleet.side.counts()["chunks"] == chunks
    assert door.agent.intake.update.state == "downloading"
    fleet.hub.rollouts.resume(rollout, "cli")
    assert fleet.until(lambda: door.machine.runs == "1.2.0") < 30
    assert [step.why for step in fleet.hub.rollouts.steps(rollout)][1] == "lunch"


def test_stopped_it_is_dropped_by_who_was_fetching_it(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    rollout = fleet.start(fleet.bundle(padding=200_000), "t1")
    fleet.until(lambda: door.agent.intake.update is not None and door.agent.intake.update.done > 8)
    fleet.hub.rollouts.stop(rollout, "cli")
    fleet.until(lambda: door.agent.intake.update is None)
    assert [path.name for path in door.machine.layout.spool.iterdir()] == ["offered.json"]
    again = fleet.start(fleet.hub.bundles.all()[0], "t1")
    fleet.until(lambda: fleet.states(again) == ["updated"])


def test_a_downgrade_is_refused_by_the_hub_and_by_the_terminal(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.5.0")
    fleet.meet()
    with pytest.raises(InTheWay, match="terminal t1 runs 1.5.0, which is newer"):
        fleet.start(fleet.bundle(), "t1")
    # A hub that does not know what runs there.
    older = fleet.bundle("1.1.0")
    fleet.cut(door)
    with fleet.hub.storage.write() as tx:
        tx.connection.exec_driver_sql("UPDATE terminals SET health = '{}', reported = NULL")
    rollout = fleet.start(older, "t1")
    fleet.side.deliveries._offer(fleet.get(rollout), "t1", 0.0)
    fleet.mend(door)
    topic, data = fleet.seen[-1]
    fleet.round()
    door.net.bring((topic, data))
    fleet.until(lambda: door.agent.intake.update is not None)
    assert door.agent.intake.update.why == "release 1.1.0 is older than 1.5.0, which runs"
    assert door.machine.runs == "1.5.0"


def test_a_hub_that_was_taken_over_cannot_have_a_terminal_run_what_nobody_released(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    (fleet.folder / "theirs.json").write_bytes(root("theirs"))
    fleet.hub.bundles.trust(fleet.folder / "theirs.json")
    rollout = fleet.start(fleet.bundle(roots=[root("theirs")], keys=signers("theirs")), "t1")
    fleet.until(fleet.is_phase(rollout, Phase.STOPPED))
    assert "not signed by those whom this terminal trusts" in fleet.get(rollout).members[0].why
    assert door.machine.runs == "1.0.0"


def test_of_a_group_those_are_passed_over_for_whom_it_is_nothing(fleet: Fleet) -> None:
    fleet.add_door("newer", release="1.5.0")
    fleet.add_door("none")
    fleet.add_door("fit", release="1.0.0")
    away = fleet.add_door("away", release="1.6.0")
    fleet.cut(away)
    fleet.meet()
    kept = fleet.bundle()
    rollout = fleet.hub.rollouts.start(kept, Asked(groups=("staff",), soak=MINUTE), "cli")
    assert [one.terminal_id for one in fleet.get(rollout).members] == ["fit", "away"]
    fleet.until(lambda: fleet.states(rollout)[0] == "updated")
    fleet.pass_by(3 * MINUTE)
    fleet.mend(away)
    fleet.until(fleet.is_phase(rollout, Phase.DONE), 600)
    assert fleet.states(rollout) == ["updated", "passed_over"]
    with pytest.raises(InTheWay, match="runs no installed release"):
        fleet.start(kept, "none")


def test_a_bundle_for_another_machine_is_refused_for_these_terminals(fleet: Fleet) -> None:
    three(fleet)
    kept = fleet.bundle(python="3.13" if fleet.doors["t1"].agent.intake.machine.python != "3.13" else "3.12")
    with pytest.raises(InTheWay, match="terminal t1 is .*; the bundle is for "):
        fleet.hub.rollouts.start(kept, Asked(groups=("staff",)), "cli")
    assert fleet.hub.rollouts.all() == []


def test_a_bundle_that_is_not_signed_as_it_must_be_never_comes_to_a_terminal(fleet: Fleet, tmp_path: Path) -> None:
    good = tiny_bundle(tmp_path, "1.2.0")
    data = bytearray(good.read_bytes())
    data[-200] ^= 1
    altered = tmp_path / "altered.bundle"
    altered.write_bytes(bytes(data))
    (tmp_path / "other").mkdir()
    foreign = tiny_bundle(tmp_path / "other", "1.2.0", roots=[root("theirs")], keys=signers("theirs"))
    for path, why in ((altered, "is not what was signed"), (foreign, "not signed|cannot be trusted"),
                      (tiny_bundle(tmp_path / "other", "1.3.0", at(-200), days=90), "have expired")):
        with pytest.raises(BundleRefused, match=why):
            fleet.hub.bundles.add(path)
    assert fleet.hub.bundles.all() == []
    assert {path.name for path in fleet.hub.where.updates.iterdir()} == {"root.json"}


def test_without_a_root_of_trust_no_bundle_is_taken(fleet: Fleet, tmp_path: Path) -> None:
    (fleet.hub.where.updates / "root.json").unlink()
    with pytest.raises(InTheWay, match="rollout trust"):
        fleet.bundle()


def test_two_roll_outs_do_not_share_a_terminal(fleet: Fleet) -> None:
    three(fleet)
    kept = fleet.bundle()
    first = fleet.start(kept, "t1")
    with pytest.raises(InTheWay, match="t1 is in another roll-out"):
        fleet.start(kept, "t2", "t1")
    fleet.hub.rollouts.stop(first, "cli")
    fleet.start(kept, "t2", "t1")


@pytest.mark.parametrize(("changes", "kind"), [
    ({"stages": "10%,5%"}, FieldRefused), ({"stages": "all"}, FieldRefused), ({"stages": "101%"}, FieldRefused),
    ({"soak": timedelta(-1)}, FieldRefused), ({"max_failures": -1}, FieldRefused), ({"terminals": ()}, FieldRefused),
    ({"groups": ("staff",)}, FieldRefused), ({"terminals": ("t9",)}, NotThere),
    ({"terminals": (), "groups": ("nobody",)}, NotThere)])
def test_what_cannot_be_is_refused_and_leaves_nothing(fleet: Fleet, changes: dict, kind: type[Exception]) -> None:
    fleet.add_door("t1", release="1.0.0")
    with pytest.raises(kind):
        fleet.hub.rollouts.start(fleet.bundle(), dataclasses.replace(Asked(terminals=("t1",)), **changes), "cli")
    assert fleet.hub.rollouts.all() == []


def test_a_hub_that_was_set_back_waits_for_somebody_to_look(fleet: Fleet) -> None:
    fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    rollout = fleet.start(fleet.bundle(), "t1")
    fleet.backup_hub("copy.db")
    fleet.hub.rollouts.stop(rollout, "cli", "it is broken")
    fleet.enrol(3)
    fleet.restore_hub("copy.db")
    assert fleet.get(rollout).phase is Phase.PAUSED
    assert "set back" in fleet.get(rollout).why


def test_a_bundle_whose_file_is_gone_or_rotten_pauses_or_sends_nothing(fleet: Fleet) -> None:
    door = fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    kept = fleet.bundle()
    path = fleet.hub.where.updates / f"{kept.sha256}.bundle"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    rollout = fleet.start(kept, "t1")
    fleet.pass_by(5 * MINUTE)
    assert door.agent.intake.update.done == kept.chunk_count - 1
    path.unlink()
    fleet.until(fleet.is_phase(rollout, Phase.PAUSED))
    assert fleet.get(rollout).why == "the bundle's file is gone: add it again, then resume"
    fleet.bundle()
    fleet.hub.rollouts.resume(rollout, "cli")
    fleet.until(lambda: door.machine.runs == "1.2.0")


def test_only_so_many_terminals_are_sent_chunks_at_a_time(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "AT_ONCE", 1)
    three(fleet)
    rollout = fleet.start(fleet.bundle(), "t1", "t2", "t3", stages="100%")
    fleet.until(lambda: fleet.states(rollout) == ["updated"] * 3, 1200)
    assert fleet.side.counts()["chunks put off"] > 0


def test_a_terminal_that_asks_for_what_is_not_meant_for_it_gets_nothing(fleet: Fleet) -> None:
    three(fleet)
    kept = fleet.bundle()
    fleet.start(kept, "t1", "t2", stages="1,2")
    for name in ("t2", "t3"):
        fleet.side.deliveries.asked(fleet.roster.get(name), ChunkRequest(
            terminal_id=name, sha256=bytes.fromhex(kept.sha256), indexes=(0, 1)))
    assert not fleet.side.deliveries.step()
    assert fleet.side.counts()["chunks refused"] == 4


def test_nothing_of_a_release_can_be_read_on_the_way(fleet: Fleet) -> None:
    fleet.add_door("t1", release="1.0.0")
    fleet.meet()
    rollout = fleet.start(fleet.bundle(), "t1")
    fleet.until(lambda: fleet.states(rollout) == ["updated"])
    passed = b"".join(data for _, data in fleet.seen)
    for canary in (b"1.2.0", b"open_door", b"tiny_padding", rollout.encode()):
        assert canary not in passed, canary


def test_a_terminal_that_was_revoked_holds_nobody_up(fleet: Fleet) -> None:
    one, two, _ = three(fleet)
    fleet.cut(one)
    rollout = fleet.start(fleet.bundle(), "t1", "t2", stages="1,2", soak=MINUTE)
    fleet.pass_by(5 * MINUTE)
    fleet.claims.revoke("t1")
    fleet.until(lambda: two.machine.runs == "1.2.0", 300)
    assert one.machine.runs == "1.0.0"
    assert fleet.get(rollout).stage == 1


def test_a_terminal_that_is_removed_leaves_its_roll_out(fleet: Fleet) -> None:
    _, two, _ = three(fleet)
    rollout = fleet.start(fleet.bundle(), "t1", "t2", "t3", stages="1,2,3", soak=MINUTE)
    fleet.until(lambda: fleet.states(rollout)[0] == "updated")
    fleet.doors.pop("t1").stop()
    fleet.hub.fleet.remove("t1")
    fleet.until(lambda: two.machine.runs == "1.2.0", 300)
    fleet.until(fleet.is_phase(rollout, Phase.DONE), 600)
    assert fleet.states(rollout) == ["updated", "updated"]
