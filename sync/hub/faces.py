"""Every face that the hub knows, in one matrix, for finding out whether somebody is enrolled already."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from device.face.card import Card
from device.face.gallery import Gallery
from device.face.match import search, verify
from device.face.threshold import Threshold, site_scores, threshold_for
from device.face.types import Candidate, Floats
from device.store.records import Template
from sync.hub.schema import templates
from sync.hub.storage import Tx
from sync.hub.vault import Vault, own_key
from sync.wire.templates import from_body

GROWN = 1.05  # the site's own people are compared anew once the gallery has changed by a twentieth


class Faces:
    """The templates of one model; brought up to date inside the transaction that asks."""

    def __init__(self, vault: Vault, card: Card, fpir: float) -> None:
        self._vault, self._card, self._fpir = vault, card, fpir
        self._gallery = Gallery.empty(card.model_id, card.recogniser.dimensions)
        self._ids: set[str] = set()
        self._generation = 0
        self._threshold: tuple[int, Threshold] | None = None

    def refresh(self, tx: Tx) -> None:
        """Take in what was enrolled and let go what was removed since the last time, by whichever process."""
        mine = templates.c.model_id == self._card.model_id
        fresh = tx.all(sa.select(templates).where(mine, templates.c.generation > self._generation))
        total = tx.value(sa.select(sa.func.count()).where(mine))
        if not fresh and total == len(self._ids):
            return
        gone: set[str] = set()
        if total != len(self._ids) + len(fresh):
            gone = self._ids - {row.template_id for row in tx.all(sa.select(templates.c.template_id).where(mine))}
        self._gallery = self._gallery.next(self._opened(fresh), gone)
        self._ids = (self._ids - gone) | {row.template_id for row in fresh}
        self._generation = max([self._generation, *(row.generation for row in fresh)])

    def __len__(self) -> int:
        return len(self._gallery)

    @property
    def threshold(self) -> Threshold:
        """As the door would have it: whom the door takes for somebody is enrolled already."""
        size = len(self._gallery)
        known = self._threshold
        if known is None or not known[0] / GROWN <= size <= known[0] * GROWN:
            self._threshold = known = (size, threshold_for(self._card.populations, self._fpir, size,
                                                           site_scores(self._gallery)))
        return known[1]

    def holder(self, vector: Floats, apart_from: str | None = None) -> Candidate | None:
        """Whose face that is; someone else's than that person's."""
        found = search(self._gallery, vector, 2, self.threshold.score)
        return next((one for one in found if one.person_id != apart_from), None)

    def likeness(self, vector: Floats, person_id: str) -> float | None:
        """How much it resembles that person's best template; None where they have none."""
        found = verify(self._gallery, vector, person_id)
        return None if found is None else found.score

    def _opened(self, rows: Sequence[sa.Row[tuple[str, str, bytes]]]) -> list[Template]:
        names = [own_key("template", row.template_id) for row in rows]
        keys = self._vault.keys_of(names)
        return [from_body(keys.open(name, row.sealed, "template", row.template_id))
                for name, row in zip(names, rows, strict=True)]
