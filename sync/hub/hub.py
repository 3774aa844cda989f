"""The hub as a whole: everything opened and tied together. Called by the CLI, the API and `serve`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from device.clock import Clock
from device.errors import StoreError
from device.face.card import Card
from sync.hub.areas import Areas
from sync.hub.bundles import Bundles
from sync.hub.clock_check import ClockCheck
from sync.hub.configuration import Configurations
from sync.hub.consent import Consents
from sync.hub.credentials import Credentials
from sync.hub.endings import Endings
from sync.hub.enrol import Enroller, Eye
from sync.hub.events import Events
from sync.hub.faces import Faces
from sync.hub.fleet import Fleet
from sync.hub.groups import Groups
from sync.hub.identities import Identities
from sync.hub.keys import Keys
from sync.hub.ledger import Ledger
from sync.hub.liveness import VideoLiveness
from sync.hub.orders import Orders
from sync.hub.outbox import Outbox
from sync.hub.passes import Passes
from sync.hub.people import ERASURE_DUE, People
from sync.hub.places import Places, make_folders
from sync.hub.policies import Policies
from sync.hub.positions import Positions
from sync.hub.replay import replay
from sync.hub.rollouts import Rollouts
from sync.hub.schema import meta
from sync.hub.storage import Storage, exists, insert_or_update
from sync.hub.tokens import Tokens
from sync.hub.vault import Vault
from sync.hub.webhooks import Webhooks

FPIR = 1e-3  # of the duplicate check: what the terminals' default is, so that both say the same of a face
KEEP_PHOTOS = "keep_photos"


@dataclass(frozen=True, slots=True, eq=False)
class Hub:
    """The parts of one hub; any thread may use them."""

    where: Places
    clock: Clock
    storage: Storage
    vault: Vault
    ledger: Ledger
    keys: Keys
    groups: Groups
    consents: Consents
    people: People
    credentials: Credentials
    passes: Passes
    enroller: Enroller
    fleet: Fleet
    identities: Identities
    orders: Orders
    configurations: Configurations
    policies: Policies
    events: Events
    positions: Positions
    tokens: Tokens
    clock_check: ClockCheck
    liveness: VideoLiveness
    bundles: Bundles
    rollouts: Rollouts
    outbox: Outbox
    webhooks: Webhooks

    @classmethod
    def open(cls, where: Places, clock: Clock, environment: Mapping[str, str] | None = None,
             is_new: bool = False) -> Hub:
        """The hub in these places; StoreError where there is none, unless a new one is to be made.

        What was cut short is made up for: keys of what was removed are destroyed, and where the database is an old
        one, what has ended since is ended again.
        """
        if not is_new and not exists(where.main):
            raise StoreError(f"{where.shown}: there is no hub here yet; make one with `fleethub init`, or set "
                             "FLEETHUB_STATE")
        make_folders(where)
        vault = Vault.open(where, environment)
        try:
            storage = Storage.open(where.main, endings=Endings(where.endings))
        except BaseException:
            vault.close()
            raise
        with contextlib.ExitStack() as undo:
            undo.callback(storage.close)
            undo.callback(vault.close)
            with storage.write() as tx:
                hub = cls._of(where, clock, storage, vault)
                replay(hub, tx)
                hub.policies.follow_areas()
            hub.people.finish_removals()
            undo.pop_all()
        return hub

    @classmethod
    def _of(cls, where: Places, clock: Clock, storage: Storage, vault: Vault) -> Hub:
        ledger = Ledger(storage, vault, clock, where.mark)
        keys, groups, consents = Keys(storage, vault, clock), Groups(storage), Consents(storage, vault, clock)
        areas, orders = Areas(storage, ledger, keys, clock), Orders(storage, clock)
        fleet = Fleet(storage, ledger, groups, areas, keys, clock)
        people = People(storage, vault, ledger, groups, consents, clock)
        enroller = Enroller(storage, people, consents, clock, open_eye, lambda card: Faces(vault, card, FPIR),
                            keeps_photos(storage))
        positions, bundles = Positions(storage, ledger, clock), Bundles(storage, where.updates, clock)
        outbox = Outbox(storage)
        passes = Passes(storage, vault, ledger, keys, clock, people.finish_removals)
        return cls(where, clock, storage, vault, ledger, keys, groups, consents, people,
                   Credentials(storage, vault, people), passes, enroller, fleet, Identities(storage, clock), orders,
                   Configurations(storage, ledger, fleet, orders),
                   Policies(storage, vault, ledger, fleet, areas, clock),
                   Events(storage, clock, [positions.follow, outbox.follow]), positions, Tokens(storage, clock),
                   ClockCheck(storage, clock), VideoLiveness(where.run, clock), bundles,
                   Rollouts(storage, bundles, clock), outbox, Webhooks(storage, vault, outbox, clock))

    def tidy(self, is_clock_right: bool = False) -> None:
        """What is to be done now and then: faces without consent go, drops are no longer listed that all have
        confirmed long ago, and what was removed leaves the files.

        is_clock_right  somebody vouches for the hub's clock; else what goes by time waits until it can be believed
        """
        self.people.finish_removals()
        if self.clock_check.believe(is_clock_right):
            self.people.end_lapsed_consents()
            self.fleet.forget_drops()
            self.passes.forget()
        with self.storage.read() as tx:
            note = tx.value(sa.select(meta.c.value).where(meta.c.name == ERASURE_DUE))
        if note is not None and self.storage.erase():
            with self.storage.write() as tx:
                tx.run(sa.delete(meta).where(meta.c.name == ERASURE_DUE, meta.c.value == note))

    def close(self) -> None:
        self.storage.close()
        self.vault.close()


def keeps_photos(storage: Storage) -> bool:
    """Whether this hub was told to keep pictures."""
    with storage.read() as tx:
        return tx.value(sa.select(meta.c.value).where(meta.c.name == KEEP_PHOTOS)) is not None


def keep_photos(storage: Storage) -> None:
    """Tell this hub to keep pictures from now on; in effect when it is opened next."""
    with storage.write() as tx:
        insert_or_update(tx, meta, [{"name": KEEP_PHOTOS, "value": "1"}])


def open_eye() -> Eye:
    """The networks of the pack in use, with enrolment's gates."""
    from device.face.models import Models
    from device.face.portrait import Examiner
    from device.face.quality import ENROLMENT
    from device.packs import library

    card: Card = library.open_pack()
    return Eye(card, Examiner(Models.load(card), ENROLMENT))
