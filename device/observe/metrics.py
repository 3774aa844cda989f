"""Metrics for Prometheus: figures of this terminal, none about anybody; on loopback, where the site asks for them.

An observer of the door. Counters and the histogram move on the door thread; gauges are read from the newest Status
when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from device.door.decision import Decision, Now
from device.sighting import Sighting
from device.status import Status

LOOPBACK = "127.0.0.1"
SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)

# name -> (help, what of the status)
GAUGES: dict[str, tuple[str, Callable[[Status], float]]] = {
    "door_released": ("1 while the lock is released", lambda one: float(one.phase == "released")),
    "door_open": ("1 while the contact says open", lambda one: float(one.phase in ("open", "held", "forced"))),
    "camera_fps": ("frames a second", lambda one: one.fps),
    "frames_dropped_total": ("frames replaced before they were looked at", lambda one: float(one.frames_dropped)),
    "sightings_dropped_total": ("sightings that gave way", lambda one: float(one.sightings_dropped)),
    "gallery_size": ("templates that are compared", lambda one: float(one.templates)),
    "gallery_people": ("people in the gallery", lambda one: float(one.people)),
    "gallery_rejected": ("templates that do not open under the key", lambda one: float(one.rejected)),
    "threshold": ("cosine at which somebody is recognised", lambda one: one.threshold),
    "journal_entries": ("entries ever written", lambda one: float(one.journal_entries)),
    "journal_waiting": ("entries that wait in memory", lambda one: float(one.journal_waiting)),
    "outbox_depth": ("entries that the hub has not acknowledged", lambda one: float(one.outbox)),
    "relay_up": ("1 while door-relay answers", lambda one: float(one.relay_alive)),
    "hub_heard": ("1 while the hub is heard of, or there is none",
                  lambda one: float("hub_silent" not in one.degraded)),
    "clock_trusted": ("1 while the wall clock is trusted", lambda one: float(one.clock != "untrusted")),
    "memory_bytes": ("resident memory", lambda one: one.memory_mb * 2**20),
    "ready_seconds": ("from the start to able to release", lambda one: one.ready_s),
    "watchdog_kicks_total": ("signs of life to the service manager", lambda one: float(one.watchdog_kicks)),
    "relay_pulses_total": ("times that the lock was released", lambda one: float(one.relay_pulses)),
}


class Metrics:
    """status  the newest; called on the server's thread"""

    def __init__(self, status: Callable[[], Status]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_FromStatus(status))
        self._decisions = Counter("door_decisions", "answers at the door", ("result", "method", "reason"),
                                  registry=self.registry)
        self._seconds = Histogram("door_decision_seconds", "from the first usable frame to a grant", buckets=SECONDS,
                                  registry=self.registry)
        self._server: tuple[WSGIServer, Thread] | None = None

    def serve(self, port: int) -> int:
        """Serve on loopback; the port, which is any free one for 0. OSError where it is taken."""
        self._server = start_http_server(port, LOOPBACK, self.registry)
        return int(self._server[0].server_port)

    def close(self) -> None:
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(5.0)
            self._server = None

    # --- what the door tells ----------------------------------------------------------------------------

    def decided(self, decision: Decision, at: Now) -> None:
        claim = decision.claim
        methods = decision.methods or (claim.methods if claim is not None else frozenset())
        self._decisions.labels("granted" if decision.granted else "refused",
                               "+".join(sorted(one.value for one in methods)), decision.reason).inc()
        if decision.granted and claim is not None and claim.since_mono is not None:
            self._seconds.observe(max(at.mono - claim.since_mono, 0.0))

    def signalled(self, reason: str) -> None:
        """Of no interest here."""

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""


class _FromStatus(Collector):
    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Any]:
        status = self._status()
        for name, (text, value) in GAUGES.items():
            yield GaugeMetricFamily(f"door_{name.removeprefix('door_')}", text, value(status))
        faults = GaugeMetricFamily("door_degraded", "1 for each fault that stands", labels=["reason"])
        for reason in status.degraded:
            faults.add_metric([reason], 1.0)
        yield faults

    def describe(self) -> list[Any]:
        """None: a registry that asks at registration would ask before the door is there."""
        return []
