"""How the services are started where systemd does not run the machine: their own command lines."""

from __future__ import annotations

from collections.abc import Iterator

from door_setup import unit_file
from door_setup.credential import SEALED_FOLDER
from door_setup.tree import Tree


def lines(tree: Tree, names: tuple[str, ...]) -> Iterator[str]:
    """Shell lines for root: folders and keys as the units ask for them, then the daemons."""
    for name in names:
        if name.endswith(".service"):
            yield from _lines(tree, name.removesuffix(".service"))


def _lines(tree: Tree, service: str) -> Iterator[str]:
    found = unit_file.with_dropins(tree, f"{service}.service")
    surroundings = unit_file.environment(tree, found)
    account = unit_file.value(found, "User")
    for folder in unit_file.value(found, "RuntimeDirectory").split():
        yield f"install -d -m 0700 -o {account} /run/{folder}"
    for folder in unit_file.value(found, "StateDirectory").split():
        yield f"install -d -m 0700 -o {account} /var/lib/{folder}"
    keys = f"/run/credentials/{service}.service"
    for credential in unit_file.values(found, "LoadCredential"):
        key, _, path = credential.partition(":")
        yield f"install -D -m 0400 -o {account} {path} {keys}/{key} && chown {account} {keys}"
    if any(SEALED_FOLDER in value for value in unit_file.values(found, "LoadCredentialEncrypted")):
        yield f"# {service}: its keys are sealed; only systemd can open them"
    words = [f"{key}={value}" for key, value in surroundings.items()]
    yield " ".join(["runuser", "-u", account, "--", "env", f"CREDENTIALS_DIRECTORY={keys}", *words,
                    *unit_file.command(found, surroundings)])
