"""`doorctl bench --only policy`: what a decision costs with many people and rules, and apart from it the record."""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

from device.clock import SystemClock
from device.door.decision import Claim, Memory, Now, Scene
from device.door.policy import decide
from device.door.rules import Rules, Site
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.places import make_folders, places
from device.store.records import AccessRule, Area, DoorSides, Method, Passback, Period, Person, Schedule
from device.store.seal import load_key

PEOPLE, RULES, SCHEDULES, GROUPS = 50_000, 500, 40, 200
ROUNDS = 2000
_MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)


def bench_policy(is_quick: bool = False) -> dict[str, Any]:
    """One object, a key per figure; times in microseconds, medians."""
    people = PEOPLE // (20 if is_quick else 1)
    with tempfile.TemporaryDirectory(prefix="door-bench-") as folder:
        where = places({"DOOR_STATE": folder})
        make_folders(where)
        ids = _enrol(where.gallery_db, load_key(where), people)
        reader = CacheReader.open(where.gallery_db, load_key(where))
        try:
            read_us, decide_us, granted = _measure(reader, ids)
        finally:
            reader.close()
    return {"policy_people": people, "policy_rules": RULES, "policy_decide_us": round(median(decide_us), 1),
            "policy_decide_p99_us": round(sorted(decide_us)[int(len(decide_us) * 0.99)], 1),
            "policy_read_person_us": round(median(read_us), 1), "policy_granted": granted}


def rules() -> Rules:
    """500 rules over 40 schedules with twelve periods a day, for 200 groups; areas with anti-passback."""
    day = tuple(Period(hour * 120, hour * 120 + 90) for hour in range(12))
    schedules = tuple(Schedule(f"s{number}", (day,) * 7, ((f"2026-{number % 12 + 1:02}-01", ()),))
                      for number in range(SCHEDULES))
    made = tuple(AccessRule(f"r{number}", f"g{number % GROUPS}", (), f"s{number % SCHEDULES}",
                            ((Method.CARD, Method.PIN), (Method.FACE,)), Passback.HARD) for number in range(RULES))
    return Rules(made, schedules, Site(time_zone="Asia/Shanghai"), areas=(Area("lab", limit=100),),
                 doors=(DoorSides("door", "", "lab"),))


def _enrol(path: Path, key: Any, count: int) -> list[str]:
    ids = [f"{number:032x}" for number in range(1, count + 1)]
    writer = CacheWriter.open(path, key, SystemClock())
    with writer.together():
        for number, person_id in enumerate(ids):
            writer.put_person(Person(person_id, f"Person {number}",
                                     tuple(f"g{(number + step * 7) % GROUPS}" for step in range(5))))
    writer.close()
    return ids


def _measure(reader: CacheReader, ids: list[str]) -> tuple[list[float], list[float], int]:
    made, memory, granted = rules(), Memory(), 0
    read_us, decide_us = [], []
    for number in range(ROUNDS):
        person_id = ids[(number * 7919) % len(ids)]
        claim = Claim(person_id, frozenset({Method.FACE}), track_id=number)
        now = Now(_MONDAY + timedelta(seconds=number * 30), number * 30.0)
        begun = time.perf_counter()
        person = reader.person(person_id)
        read = time.perf_counter()
        decision, memory = decide(claim, person, made, memory, now, Scene(occupants=5))
        decided = time.perf_counter()
        read_us.append((read - begun) * 1e6)
        decide_us.append((decided - read) * 1e6)
        granted += decision.granted
    return read_us, decide_us, granted
