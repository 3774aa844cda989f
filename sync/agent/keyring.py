"""The keys that open what the hub sealed: this terminal's own, and those of the groups that it serves."""

from __future__ import annotations

from device.errors import SealBroken
from device.store.handover import Handover
from device.store.trust import MessageRefused, Opener, place
from sync.wire.messages import GroupKey, Page
from sync.wire.seal import GroupSeal

OWN = "terminal"  # the key id of what is sealed to this terminal alone


class Keyring:
    """Group keys by id, kept sealed in gallery.db."""

    def __init__(self, terminal_id: str, opener: Opener, handover: Handover) -> None:
        self._terminal_id, self._opener, self._handover = terminal_id, opener, handover
        self._groups: dict[str, tuple[str, GroupSeal]] = {}
        self._load()

    def add(self, message: GroupKey) -> bool:
        """Keep a group's key; false where it is known. SealBroken where it was not sealed to this terminal,
        MessageRefused where it is no key or not the one that it is called."""
        bound_to = place("group_key", self._terminal_id, message.group, message.key_id)
        key = self._opener.open(message.sealed, bound_to)
        if len(key) != 32 or GroupSeal(key).key_id != message.key_id:
            raise MessageRefused("a group's key is not the one that it is called")
        is_new = self._handover.put_group_key(message.group, message.key_id, key)
        self._load()
        return is_new

    def groups(self) -> tuple[str, ...]:
        """Groups of which a key is held."""
        return tuple(sorted({group for group, _ in self._groups.values()}))

    def key_ids(self) -> tuple[str, ...]:
        return tuple(self._groups)

    def open_page(self, page: Page) -> bytes:
        """The page's body; SealBroken where no key that is held opens it."""
        bound_to = place("page", page.site, page.stream, page.epoch, page.form, page.from_seq, page.to_seq, page.part,
                         page.parts, page.key_id)
        if page.key_id == OWN:
            return self._opener.open(page.sealed, bound_to)
        group, seal = self._groups.get(page.key_id, ("", None))
        if seal is None or page.stream != f"group/{group}":
            raise SealBroken(f"{page.stream}: sealed under a key that this terminal does not hold")
        return seal.open(page.sealed, bound_to)

    def _load(self) -> None:
        self._groups = {key_id: (group, GroupSeal(key)) for group, key_id, key in self._handover.group_keys()}
