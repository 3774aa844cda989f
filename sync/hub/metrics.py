"""The hub's figures for Prometheus: how its terminals do, what it stores and passes on; none about anybody.

Read when somebody asks (`GET /metrics`, with a token that may read). Labels name terminals, states and kinds of
message; a person is never one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sync.hub.hub import Hub
from sync.hub.overview import Terminal

TEXT = "text/plain; version=0.0.4; charset=utf-8"

# name -> (help, what of the terminal)
GAUGES: dict[str, tuple[str, Callable[[Terminal], float]]] = {
    "online": ("1 while the broker has its link", lambda one: float(one.is_online)),
    "behind": ("1 while it lacks something that the hub has", lambda one: float(one.state == "behind")),
    "events_waiting": ("journal entries that are not stored here",
                       lambda one: float(max((one.journal_seq or 0) - (one.acked or 0), 0))),
    "open_deletions": ("deletions whose receipt it owes", lambda one: float(one.open_deletions)),
    "faults": ("faults that it states", lambda one: float(len(one.health.get("degraded", ())))),
}


def metrics(hub: Hub, is_well: bool, counts: Mapping[str, int]) -> bytes:
    """All figures in Prometheus' text format.

    is_well  whether the link to the broker is up
    counts   messages sent, taken in, refused and set aside since the start
    """
    registry = CollectorRegistry()
    registry.register(_Fleet(hub, is_well, counts))
    return generate_latest(registry)


class _Fleet(Collector):
    def __init__(self, hub: Hub, is_well: bool, counts: Mapping[str, int]) -> None:
        self._hub, self._is_well, self._counts = hub, is_well, counts

    def collect(self) -> Iterator[Metric]:
        terminals, hub = self._hub.fleet.all(), self._hub
        yield GaugeMetricFamily("hub_broker_up", "1 while the link to the broker is up", float(self._is_well))
        yield GaugeMetricFamily("hub_people", "people enrolled", hub.people.count())
        yield CounterMetricFamily("hub_events", "journal entries stored", hub.events.count())
        messages = CounterMetricFamily("hub_messages", "messages since the start, by what became of them",
                                       labels=["kind"])
        for kind, count in sorted(self._counts.items()):
            messages.add_metric([kind], count)
        yield messages
        states = GaugeMetricFamily("hub_terminals", "terminals, by state", labels=["state"])
        for state, count in sorted(Counter(one.state for one in terminals).items()):
            states.add_metric([state], count)
        yield states
        for name, (said, value) in GAUGES.items():
            gauge = GaugeMetricFamily(f"hub_terminal_{name}", said, labels=["terminal"])
            for one in terminals:
                gauge.add_metric([one.terminal_id], value(one))
            yield gauge
