"""The hub of a fleet on this machine: its key, its first state."""

from __future__ import annotations

from collections.abc import Iterator

from door_setup.as_service import insist, run_as
from door_setup.credential import HUB_KEY, Store
from door_setup.plan import Step
from door_setup.tree import Tree, folder_step

STATE = "/var/lib/fleethub"


def hub_steps(store: Store, site: str) -> Iterator[Step]:
    """site  id of the first site of a new hub"""
    yield store.make_step(HUB_KEY, "everything that the hub keeps is sealed under it")
    yield store.dropin_step("fleethub")
    yield folder_step(store.tree, STATE, "the hub's state, for its account alone", 0o700, "door-hub:door-hub")
    yield Step(f"make a new hub with the site {site}", "there is none yet; its first token is shown below, once",
               lambda: _is_there(store.tree), lambda: _make(store, site))


def _is_there(tree: Tree) -> bool:
    return tree.at(f"{STATE}/data/hub.db").exists()


def _make(store: Store, site: str) -> None:
    insist(run_as(store, "fleethub", "fleethub", "init", "--site", site, is_shown=True))
