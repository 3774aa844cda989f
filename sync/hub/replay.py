"""After the database was set back: what has ended since then is ended again, before anything is served.

Called by `hub`, in the transaction in which the ledger finds itself behind its mark.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from device.errors import StoreError
from sync.hub.endings import Ending
from sync.hub.errors import NotThere
from sync.hub.schema import terminals
from sync.hub.storage import Tx
from sync.hub.times import moment

if TYPE_CHECKING:
    from sync.hub.hub import Hub

log = logging.getLogger(__name__)


def replay(hub: Hub, tx: Tx) -> None:
    """Bring the database up to the endings that it has missed. StoreError for one that only a later release knows."""
    missed = tx.missed_endings()
    if hub.ledger.was_set_back:
        hub.identities.set_back(tx)
        hub.rollouts.hold(tx)
    if missed or hub.ledger.was_set_back:
        hub.people.forget(name for ending in missed if ending[0] == "keys" for name in ending[1:])
        _end_again(hub, tx, missed)
        log.warning("%d endings that the database did not know were done again", len(missed))


def _end_again(hub: Hub, tx: Tx, missed: Sequence[Ending]) -> None:
    for ending in missed:
        # What came after the backup is not there to be ended.
        with contextlib.suppress(NotThere):
            _one(hub, tx, ending)


def _one(hub: Hub, tx: Tx, ending: Ending) -> None:
    match ending:
        case ("keys", *_):
            pass
        case ("withdrawn", person_id, at_ms) if at_ms.isascii() and at_ms.isdigit():
            hub.people.withdraw_consent(person_id, moment(int(at_ms)))
        case ("left", person_id, group_id):
            hub.people.leave(person_id, group_id)
        case ("served", terminal_id, group_id):
            hub.fleet.leave(terminal_id, group_id)
        case ("dropped", terminal_id, kind, key):
            hub.fleet.drop(terminal_id, kind, key)
        case ("pass", pass_id, until_ms) if until_ms.isascii() and until_ms.isdigit():
            hub.passes.revoke_again(pass_id, int(until_ms))
        case ("removed", terminal_id):
            hub.fleet.remove(terminal_id)
        case ("revoked", terminal_id):
            if tx.one(sa.select(terminals.c.terminal_id).where(terminals.c.terminal_id == terminal_id)):
                hub.identities.revoke(tx, terminal_id)
        case ("token", token_id):
            hub.tokens.revoke(token_id)
        case ("webhook", webhook_id):
            hub.webhooks.remove(webhook_id)
        case _:
            raise StoreError(f"{hub.where.endings}: written by a later release ({ending[0][:40]}); install that one")
