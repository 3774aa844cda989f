"""Sends commands and desired state that the API or the CLI has put down.

Owned by the thread that ingests.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from device.clock import Clock
from device.store.orders import Desired, Order
from sync.hub.carrier import Link
from sync.hub.orders import Command, Orders, Wanted
from sync.hub.roster import Roster, Terminal
from sync.hub.times import milliseconds
from sync.wire import topics
from sync.wire.codec import encode_to
from sync.wire.messages import Report
from sync.wire.sign import Signer

log = logging.getLogger(__name__)


class Courier:
    """From rows to messages, each sent once; what expired meanwhile is not sent at all."""

    def __init__(self, orders: Orders, roster: Roster, signer: Signer, clock: Clock, link: Link) -> None:
        self._orders, self._roster, self._signer = orders, roster, signer
        self._clock, self._link = clock, link
        self._told_by: dict[str, str] = {}  # terminal -> name of the key under which its state was last sent

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
        """A terminal that holds an older state than it should is told again: a broker may have lost it; and one whose
        state was signed by a key that signs no longer, since after its next start it would not believe it."""
        wanted = self._orders.held(terminal.terminal_id, report.desired_version)
        is_older = wanted.version > report.desired_version
        is_old_key = wanted.version > 0 and self._told_by.get(terminal.terminal_id) != self._signer.key_id
        if (is_older or is_old_key) and wanted.sent >= wanted.version:
            self._send_state(terminal, wanted)

    def _send_command(self, terminal: Terminal, command: Command) -> None:
        topic = topics.COMMAND.of(terminal.site, terminal.terminal_id)
        message = Order(terminal_id=terminal.terminal_id, command_id=command.command_id, boot_id=command.boot_id,
                        issued_ms=milliseconds(command.issued), expires_ms=milliseconds(command.expires),
                        verb=command.verb, seconds=command.seconds, argument=command.argument)
        left_s = (command.expires - self._clock.now()) // timedelta(seconds=1)
        if left_s > 0:
            self._link.publish(topic, encode_to(terminal.seal_public, message, topic, self._signer), expires_s=left_s)

    def _send_state(self, terminal: Terminal, wanted: Wanted) -> bool:
        topic = topics.DESIRED.of(terminal.site, terminal.terminal_id)
        until_ms = None if wanted.until is None else milliseconds(wanted.until)
        message = Desired(terminal_id=terminal.terminal_id, version=wanted.version, mode=wanted.mode,
                          mode_until_ms=until_ms, config_version=wanted.config_version)
        key_id = self._signer.key_id
        is_sent = self._link.publish(topic, encode_to(terminal.seal_public, message, topic, self._signer), True)
        if is_sent:
            self._told_by[terminal.terminal_id] = key_id
        return is_sent
