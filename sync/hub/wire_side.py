"""The hub's wire side without threads and without a broker: what came in, what moved, what is due.

`serve` runs it over the carrier; tests run it over a link of their own. Owned by one thread, but for the `step` of
`catchup` and `deliveries`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from device.clock import Clock
from sync.hub.carrier import Link
from sync.hub.catchup import CatchUp
from sync.hub.courier import Courier
from sync.hub.deliveries import Deliveries
from sync.hub.distributor import Distributor
from sync.hub.editions import Editions
from sync.hub.hub import Hub
from sync.hub.ingest import Desk, Ingest
from sync.hub.roster import Roster


class WireSide:
    """Everything between the hub's records and a link."""

    def __init__(self, hub: Hub, roster: Roster, link: Link, clock: Clock, aside: Path) -> None:
        identity, editions = hub.keys.identity(), Editions(hub.ledger, hub.keys)
        self.catchup = CatchUp(editions, identity.signer, clock, link)
        self.distributor = Distributor(hub.ledger, hub.keys, roster, identity.signer, clock, link, self.catchup,
                                       editions)
        self.courier = Courier(hub.orders, roster, identity.signer, clock, link)
        self.deliveries = Deliveries(hub.rollouts, hub.bundles, roster, identity.signer, hub.keys.numbers, clock,
                                     link)
        desk = Desk(roster, hub.fleet, hub.events, hub.orders, self.courier, self.distributor, self.deliveries)
        self.ingest = Ingest(desk, identity, clock, link, aside)
        hub.ledger.poll()

    def take(self, topic: str, data: bytes) -> None:
        """One message from a terminal, or, with an empty topic, word that the link is up. StoreError: try again."""
        if topic:
            self.ingest.take(topic, data)
        else:
            self.distributor.connected()

    def look_after_fleet(self) -> None:
        """About once a second: who joined or left, who lags, whether heads are due, how roll-outs go."""
        self.distributor.refresh()
        self.distributor.tick()
        self.deliveries.tick()

    def counts(self) -> Counter[str]:
        """What was sent, taken in, refused and set aside since the start."""
        return self.ingest.counts + self.distributor.counts + self.catchup.counts + self.deliveries.counts
