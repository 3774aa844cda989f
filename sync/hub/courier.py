"""Sends commands and desired state that the API or the CLI has put down.

Owned by the thread that ingests.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from device.clock import Clock
from device.store.orders import Desired, DesiredBody, Order, OrderBody
from device.store.trust import place
from sync.hub.carrier import Link
from sync.hub.ledger import milliseconds
from sync.hub.orders import Command, Orders, Wanted
from sync.hub.roster import Roster, Terminal
from sync.wire import topics
from sync.wire.codec import encode, encode_body
from sync.wire.messages import Report
from sync.wire.seal import seal_to
from sync.wire.sign import Signer

log = logging.getLogger(__name__)


class Courier:
    """From rows to messages, each sent once; what expired meanwhile is not sent at all."""

    def __init__(self, orders: Orders, roster: Roster, signer: Signer, clock: Clock, link: Link) -> None:
        self._orders, self._roster, self._signer = orders, roster, signer
        self._clock, self._link = clock, link

    def tick(self) -> None:
        """Send what is due."""
        if not self._link.is_up:
            return
        for command in self._orders.due():
            terminal = self._roster.get(command.terminal_id)
            # Noted before it is sent: a command that may have moved a relay is never sent again.
            self._orders.sent(command.command_id)
            if terminal is not None:
                self._send_command(terminal, command)
        for wanted in self._orders.unsent():
            terminal = self._roster.get(wanted.terminal_id)
            if terminal is not None and self._send_state(terminal, wanted):
                self._orders.state_sent(wanted.terminal_id, wanted.version)

    def reported(self, terminal: Terminal, report: Report) -> None:
        """A terminal that holds an older state than it should is told again: a broker may have lost it."""
        wanted = self._orders.wanted(terminal.terminal_id)
        if wanted.version > report.desired_version and wanted.sent >= wanted.version:
            self._send_state(terminal, wanted)

    def _send_command(self, terminal: Terminal, command: Command) -> None:
        topic = topics.COMMAND.of(terminal.site, terminal.terminal_id)
        body = OrderBody(verb=command.verb, seconds=command.seconds, argument=command.argument)
        bound_to = place("command", terminal.terminal_id, command.command_id)
        message = Order(terminal_id=terminal.terminal_id, command_id=command.command_id, boot_id=command.boot_id,
                        issued_ms=milliseconds(command.issued), expires_ms=milliseconds(command.expires),
                        sealed=seal_to(terminal.seal_public, encode_body(body), bound_to))
        left_s = (command.expires - self._clock.now()) // timedelta(seconds=1)
        if left_s > 0:
            self._link.publish(topic, encode(message, topic, self._signer), expires_s=left_s)

    def _send_state(self, terminal: Terminal, wanted: Wanted) -> bool:
        topic = topics.DESIRED.of(terminal.site, terminal.terminal_id)
        until_ms = None if wanted.until is None else milliseconds(wanted.until)
        body = DesiredBody(mode=wanted.mode, mode_until_ms=until_ms, config_version=wanted.config_version)
        bound_to = place("desired", terminal.terminal_id, wanted.version)
        message = Desired(terminal_id=terminal.terminal_id, version=wanted.version,
                          sealed=seal_to(terminal.seal_public, encode_body(body), bound_to))
        return self._link.publish(topic, encode(message, topic, self._signer), True)
