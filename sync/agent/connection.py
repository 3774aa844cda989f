"""This end of the connection to the hub's broker: when it is made anew, what is subscribed, how something is said.

What it is connected by is `link`'s; whether the hub still answers is for the agent to judge. Owned by the agent's
main thread.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence

from device.clock import Clock
from device.link import Link as LinkConfig
from sync.agent.announced import Announced
from sync.agent.link import Backoff, Carrier, Event
from sync.wire import topics
from sync.wire.codec import encode_to
from sync.wire.messages import Online, ToHub
from sync.wire.sign import Signer
from sync.wire.streams import head_topic, owner_of, pages_topic

log = logging.getLogger(__name__)

OWN = (topics.PAGES, topics.DESIRED, topics.COMMAND, topics.ACKED, topics.KEYS, topics.UPDATE)


class Connection:
    """announced: by whose keys what is said is sealed"""

    def __init__(self, config: LinkConfig, link: Carrier, announced: Announced, signer: Signer, session: str,
                 clock: Clock) -> None:
        self.is_up = False
        self.backoff = Backoff(clock)
        self._config, self._link, self._announced, self._signer = config, link, announced, signer
        self._session, self._clock = session, clock
        self._is_opening = False
        self._subscribed: tuple[str, ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether nothing that came waits to be looked at."""
        return self._link.inbox.empty()

    @property
    def is_dead(self) -> bool:
        """Whether the library's own thread has ended."""
        return bool(getattr(self._link, "is_dead", lambda: False)())

    def next(self, timeout_s: float) -> Event | None:
        """What came, or None where nothing does in that time."""
        try:
            return self._link.inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def open_when_due(self) -> None:
        if not self.is_up and not self._is_opening and self._clock.mono() >= self.backoff.next_mono:
            self._is_opening = True
            if failed := self._link.open():
                self.went_down(failed.why)

    def came_up(self, shared: Sequence[str]) -> None:
        """The broker has taken us: subscribe, and say that we are there."""
        log.info("connected to the broker")
        self.is_up, self._is_opening, self._subscribed = True, False, ()
        self.backoff.succeeded()
        self.subscribe(shared)
        self._say_online(True)

    def went_down(self, why: str) -> None:
        if self.is_up:
            log.warning("the link to the broker is lost: %s", why[:200])
        else:
            log.info("no link to the broker: %s", why[:200])
        self.is_up = self._is_opening = False
        self._link.close()
        self.backoff.failed()

    def close(self) -> None:
        """Say goodbye."""
        self._say_online(False)
        self._link.close()

    def subscribe(self, shared: Sequence[str]) -> None:
        """Listen on this terminal's own topics and on those of these streams, and on no others any more."""
        site = self._config.site
        wanted = [topic.of(site, self._config.terminal_id) for topic in OWN]
        wanted += [topic.of(site, owner_of(stream)) for stream in shared
                   for topic in (pages_topic(stream), head_topic(stream))]
        self._link.subscribe([name for name in wanted if name not in self._subscribed])
        self._link.unsubscribe([name for name in self._subscribed if name not in wanted])
        self._subscribed = tuple(wanted)

    def publish(self, message: ToHub, topic: topics.Topic, retain: bool | None = None) -> bool:
        """Say something to the hub alone; false where the link is down or takes no more now."""
        name = topic.of(self._config.site, self._config.terminal_id)
        data = encode_to(self._announced.chain.sealing, message, name, self._signer)
        return self._link.publish(name, data, topic.is_retained if retain is None else retain)

    def _say_online(self, is_online: bool) -> None:
        self.publish(Online(terminal_id=self._config.terminal_id, is_online=is_online, session=self._session),
                     topics.ONLINE)
