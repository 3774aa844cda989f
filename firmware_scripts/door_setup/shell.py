"""The commands as they are called by hand, in /usr/local/bin."""

from __future__ import annotations

from collections.abc import Iterator

from door_setup.as_service import ACCOUNTS, ENVIRONMENT
from door_setup.credential import Store
from door_setup.plan import Step
from door_setup.release import CURRENT
from door_setup.tree import file_step, link_step

FOLDER = "/usr/local/bin"
LINKED = ("doord", "door-relay", "door-syncd")
_WRAPPED = {"doorctl": "doord", "fleethub": "fleethub"}
"""Commands that need the key of a service."""


def shell_steps(store: Store, is_hub: bool) -> Iterator[Step]:
    """Links, and a few lines for those that are to find key and pack where the services have them."""
    for name in LINKED:
        yield link_step(store.tree, f"{FOLDER}/{name}", f"{CURRENT}/bin/{name}", "so that a shell finds it")
    for name in _WRAPPED if is_hub else ("doorctl",):
        yield _late(store, name)


def _late(store: Store, name: str) -> Step:
    """With the key as it lies when the step is asked."""
    def step() -> Step:
        return file_step(store.tree, f"{FOLDER}/{name}", _wrapper(store, name), "", 0o755)

    return Step(f"write {FOLDER}/{name}", "it is to find key and pack where the services have them",
                lambda: step().is_done(), lambda: step().act())


def _wrapper(store: Store, name: str) -> bytes:
    """Called by root, the command runs as a service of its own, which is given the key. While doord runs, systemd
    shows its key to root, and doorctl is called as it is: with root's rights to files and signals."""
    service, program = _WRAPPED[name], f"{CURRENT}/bin/{name}"
    loaded = store.loaded(service)
    key = f" [ -e {loaded[0][2]} ]" if loaded else " false"
    held = f" && [ ! -e /run/credentials/doord.service/{loaded[0][1]} ]" if loaded and name == "doorctl" else ""
    account = f" --uid={ACCOUNTS[service]}" if name == "fleethub" else ""
    keys = " ".join(f"--property={word}={credential}:{path}" for word, credential, path in loaded)
    return f"""#!/bin/sh
# Written by the installation: {name} with the surroundings of its service.
set -a
[ ! -r {ENVIRONMENT} ] || . {ENVIRONMENT}
set +a
if [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] &&{key}{held}; then
    exec systemd-run --quiet --collect --wait --pipe --same-dir{account} \\
        --property=EnvironmentFile=-{ENVIRONMENT} --property=LimitCORE=0 {keys} \\
        {program} "$@"
fi
exec {program} "$@"
""".encode()
