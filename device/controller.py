"""This terminal as a reader of somebody else's access controller: an admitted person's card goes out to it.

An observer of the door. The card is the person's own, as it is enrolled; whoever has none is told to no controller.
What the controller orders its reader's lamp and buzzer to do is shown here; it switches no output of this terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.config import ControllerConfig
from device.credentials.card import Card, encode
from device.door.decision import Decision, Now
from device.door.reasons import entry
from device.errors import SealBroken, StoreError
from device.hardware.osdp_device import BuzzerOrder, LampOrder, Order, OsdpDevice
from device.hardware.osdp_key import KeyFile
from device.hardware.osdp_port import OsdpPort
from device.hardware.wiegand_out import WiegandOut
from device.readers import PAIRING_S
from device.sighting import Sighting
from device.store.records import NewEntry
from device.threads import Worker

log = logging.getLogger(__name__)

POLL_S = 0.02
_LIGHTS = {"green": "green", "red": "red", "amber": "amber"}


class Controller:
    """cards   the secrets of a person's cards; called on the door thread
    shows   a light and a sound that the controller wants to be seen here; must only enqueue
    degrade told where the controller is lost and why, and that it is back
    note    writes into the journal
    """

    def __init__(self, config: ControllerConfig, clock: Clock, cards: Callable[[str], list[bytes]],
                 shows: Callable[[str, str], None], degrade: Callable[[str, bool, str], None],
                 note: Callable[[NewEntry], None], keys: Path) -> None:
        self._config, self._clock, self._cards, self._shows = config, clock, cards, shows
        self._degrade, self._note, self._keys = degrade, note, keys
        self._outs: list[Any] = []
        self._fault = ""

    @property
    def is_wanted(self) -> bool:
        return self._config.wiegand_d0 is not None or self._config.osdp is not None

    def open(self, factory: Any) -> None:
        """HardwareMissing or ConfigError where the lines or the port cannot be had."""
        config = self._config
        if config.wiegand_d0 is not None and config.wiegand_d1 is not None:
            self._outs.append(WiegandOut(factory, config.wiegand_d0, config.wiegand_d1, config.pulse_us,
                                         config.period_us, self._clock))
        if config.osdp is not None:
            port = OsdpPort(Path(config.osdp), config.osdp_baud)
            self._outs.append(OsdpDevice(port, config.osdp_address, KeyFile(self._keys / "osdp-controller.key"),
                                         self._ordered, lambda code, detail: self._note(entry(code, **detail))))

    def run(self, worker: Worker) -> None:
        """Body of its thread."""
        while not worker.stopping.wait(POLL_S):
            worker.beat()
            for out in self._outs:
                out.poll(self._clock.mono())
            fault = next((out.fault for out in self._outs if out.fault), "")
            if bool(fault) is not bool(self._fault):
                self._degrade("controller_lost", bool(fault), fault)
            self._fault = fault

    def pair(self, mono: float) -> bool:
        """Let a controller pair over OSDP for five minutes; False where none is configured. From any thread."""
        devices = [out for out in self._outs if isinstance(out, OsdpDevice)]
        for device in devices:
            device.pair(mono + PAIRING_S)
        return bool(devices)

    def close(self) -> None:
        for out in self._outs:
            out.close()
        self._outs.clear()

    # --- what the door tells ----------------------------------------------------------------------------

    def decided(self, decision: Decision, at: Now) -> None:
        if not decision.granted or decision.person_id is None or not self._outs:
            return
        for bits in self._bits(decision.person_id):
            for out in self._outs:
                out.admit(bits, at.mono)
            return
        log.warning("person %s has no card that the controller could be told", decision.person_id)

    def signalled(self, reason: str) -> None:
        """Of no interest here."""

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""

    def _bits(self, person_id: str) -> list[tuple[int, ...]]:
        """The person's cards that fit the format, with parity."""
        found = []
        try:
            for secret in self._cards(person_id):
                found.append(encode(Card.from_secret(secret), self._config.wiegand_bits))
        except (StoreError, SealBroken, ValueError) as error:
            log.error("a card of person %s cannot be sent: %s", person_id, error)
        return found

    def _ordered(self, order: Order) -> None:
        if isinstance(order, LampOrder) and order.on in _LIGHTS:
            self._shows(_LIGHTS[order.on], "")
        elif isinstance(order, BuzzerOrder) and order.on_s > 0:
            self._shows("", "granted" if order.times == 1 else "refused")
