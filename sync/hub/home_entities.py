"""What Home Assistant is told of a door, as topics and texts: identifiers and states, never anything of a person.

Its device discovery (one retained configuration a device, all of its entities under `components`) is described at
https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload. Pure; called by `home_assistant`.

    PREFIX/device/NODE/TERMINAL/config    a device and its entities, retained
    NODE/status                           whether the hub is there; its last will, retained
    NODE/TERMINAL/online                  whether the terminal is, retained
    NODE/TERMINAL/state                   door, lock, mode, alarms, last outcome, as JSON, retained
    NODE/TERMINAL/release                 where releases are asked for, if that is allowed
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

ONLINE, OFFLINE = "online", "offline"
UNKNOWN = "None"  # what an entity takes for: not known
RELEASE = "RELEASE"
OPEN_PHASES = ("open", "held", "forced")
PHASES = ("secure", "released", *OPEN_PHASES)
MODES = ("normal", "free", "lockdown")
_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class DoorState:
    """One door as it is shown. phase, mode: empty where not known. outcome: the reason of the last release or
    refusal."""

    phase: str = ""
    mode: str = ""
    alarms: tuple[str, ...] = ()
    outcome: str = ""
    outcome_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HomeTopics:
    """The topics of one hub at Home Assistant's broker."""

    prefix: str
    node: str

    @property
    def status(self) -> str:
        return f"{self.node}/status"

    @property
    def kept(self) -> tuple[str, ...]:
        """Filters for all that the broker may keep of this hub's terminals."""
        return f"{self.prefix}/device/{self.node}/+/config", f"{self.node}/+/online", f"{self.node}/+/state"

    @property
    def releases(self) -> str:
        return f"{self.node}/+/release"

    def config(self, terminal_id: str) -> str:
        return f"{self.prefix}/device/{self.node}/{object_id(terminal_id)}/config"

    def online(self, terminal_id: str) -> str:
        return f"{self.node}/{terminal_id}/online"

    def state(self, terminal_id: str) -> str:
        return f"{self.node}/{terminal_id}/state"

    def release(self, terminal_id: str) -> str:
        return f"{self.node}/{terminal_id}/release"

    def terminal_of(self, topic: str) -> str | None:
        """The terminal whose release is asked for on a topic; None where it is no such topic."""
        node, _, rest = topic.partition("/")
        terminal_id, _, leaf = rest.partition("/")
        return terminal_id if (node, leaf) == (self.node, "release") else None


def object_id(terminal_id: str) -> str:
    """A terminal's id in the letters that Home Assistant takes there."""
    if _OBJECT_ID.fullmatch(terminal_id):
        return terminal_id
    return f"{terminal_id.replace('.', '-')}-{hashlib.sha256(terminal_id.encode()).hexdigest()[:8]}"


def state_text(door: DoorState) -> str:
    """The state of a door as JSON."""
    return json.dumps({
        "contact": ("open" if door.phase in OPEN_PHASES else "closed") if door.phase in PHASES else UNKNOWN,
        "lock": _lock(door), "mode": door.mode if door.mode in MODES else UNKNOWN,
        "alarm": "on" if door.alarms else "off", "alarms": list(door.alarms), "outcome": door.outcome or UNKNOWN,
        "outcome_at": door.outcome_at.isoformat() if door.outcome_at else None})


def discovery_text(topics: HomeTopics, terminal_id: str, may_release: bool) -> str:
    """The configuration of a terminal as a device, as JSON."""
    return json.dumps({
        "device": {"identifiers": [f"{topics.node}_{terminal_id}"], "name": terminal_id,
                   "manufacturer": "Open Door", "model": "Face access terminal"},
        "origin": {"name": "open-door fleethub", "sw_version": _version()},
        "qos": 1, "components": {
            name: {**entity, "unique_id": f"{topics.node}_{terminal_id}_{name}"}
            for name, entity in _entities(topics, terminal_id, may_release).items()}})


def forgetting_text(topics: HomeTopics, terminal_id: str) -> str:
    """As `discovery_text` without the release, for a Home Assistant that may know one: an entity is taken away by
    being named with its platform alone, before it is left out."""
    document = json.loads(discovery_text(topics, terminal_id, False))
    document["components"]["release"] = {"platform": "button"}
    return json.dumps(document)


def _entities(topics: HomeTopics, terminal_id: str, may_release: bool) -> dict[str, dict[str, Any]]:
    hub = {"topic": topics.status}
    whole = {"availability": [hub, {"topic": topics.online(terminal_id)}], "availability_mode": "all"}
    shown = {**whole, "state_topic": topics.state(terminal_id)}
    found: dict[str, dict[str, Any]] = {
        "contact": {**shown, "platform": "binary_sensor", "name": "Door", "device_class": "door",
                    "value_template": "{{ value_json.contact }}", "payload_on": "open", "payload_off": "closed"},
        "lock": {**shown, "platform": "binary_sensor", "name": "Lock", "device_class": "lock",
                 "value_template": "{{ value_json.lock }}", "payload_on": "unlocked", "payload_off": "locked"},
        "alarm": {**shown, "platform": "binary_sensor", "name": "Alarm", "device_class": "safety",
                  "value_template": "{{ value_json.alarm }}", "payload_on": "on", "payload_off": "off",
                  "json_attributes_topic": topics.state(terminal_id),
                  "json_attributes_template": "{{ {'alarms': value_json.alarms} | tojson }}"},
        "mode": {**shown, "platform": "sensor", "name": "Mode", "value_template": "{{ value_json.mode }}"},
        "outcome": {**shown, "platform": "sensor", "name": "Last outcome",
                    "value_template": "{{ value_json.outcome }}",
                    "json_attributes_topic": topics.state(terminal_id),
                    "json_attributes_template": "{{ {'at': value_json.outcome_at} | tojson }}"},
        "online": {"platform": "binary_sensor", "name": "Online", "device_class": "connectivity",
                   "entity_category": "diagnostic", "availability": [hub],
                   "state_topic": topics.online(terminal_id), "payload_on": ONLINE, "payload_off": OFFLINE}}
    if may_release:
        found["release"] = {**whole, "platform": "button", "name": "Release", "qos": 0, "retain": False,
                            "command_topic": topics.release(terminal_id), "payload_press": RELEASE}
    return found


def _lock(door: DoorState) -> str:
    """Unlocked is a door that can be passed: released, free, or standing open."""
    if door.phase not in PHASES:
        return UNKNOWN
    return "locked" if door.phase == "secure" and door.mode != "free" else "unlocked"


def _version() -> str:
    try:
        return version("open-door")
    except PackageNotFoundError:
        return "unknown"
