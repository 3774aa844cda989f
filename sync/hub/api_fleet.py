"""The API's routes for terminals, commands, desired state and tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request

from sync.hub.api_access import Caller, TheHub, needs
from sync.hub.api_models import (
    CodeAsked,
    CodeGiven,
    CommandAsked,
    CommandGiven,
    ConfigAsked,
    ConfigGiven,
    DeletionGiven,
    GroupsAsked,
    StateAsked,
    StateGiven,
    TerminalAsked,
    TerminalGiven,
    TokenAsked,
    TokenGiven,
    TokenMade,
)
from sync.hub.claims import Claims
from sync.hub.errors import InTheWay, NotThere
from sync.hub.orders import Wanted

routes = APIRouter()
READ, WRITE, ADMIN = [needs("read")], [needs("write")], [needs("admin")]


@routes.get("/terminals", dependencies=READ, tags=["terminals"])
def list_terminals(hub: TheHub) -> list[TerminalGiven]:
    """Every terminal: where it stands in each stream, and why it is behind where it is."""
    return [TerminalGiven.of(one) for one in hub.fleet.all()]


@routes.post("/terminals", dependencies=ADMIN, status_code=201, tags=["terminals"])
def add_terminal(hub: TheHub, asked: TerminalAsked) -> TerminalGiven:
    hub.fleet.add(asked.terminal_id, asked.site_id, asked.groups, asked.title)
    return TerminalGiven.of(hub.fleet.get(asked.terminal_id))


@routes.get("/terminals/{terminal_id}", dependencies=READ, tags=["terminals"])
def get_terminal(hub: TheHub, terminal_id: str) -> TerminalGiven:
    return TerminalGiven.of(hub.fleet.get(terminal_id))


@routes.delete("/terminals/{terminal_id}", dependencies=ADMIN, status_code=204, tags=["terminals"])
def remove_terminal(hub: TheHub, terminal_id: str) -> None:
    """Its groups' keys are replaced. Take it down or reset it first: what it holds is out of reach afterwards."""
    hub.fleet.remove(terminal_id)


@routes.put("/terminals/{terminal_id}/groups", dependencies=ADMIN, tags=["terminals"])
def set_groups(hub: TheHub, terminal_id: str, asked: GroupsAsked) -> TerminalGiven:
    hub.fleet.set_groups(terminal_id, asked.groups)
    return TerminalGiven.of(hub.fleet.get(terminal_id))


@routes.post("/terminals/{terminal_id}/claim-code", dependencies=ADMIN, status_code=201, tags=["terminals"])
def make_code(request: Request, hub: TheHub, terminal_id: str, asked: CodeAsked | None = None) -> CodeGiven:
    """A new one-time code, or the one that the terminal shows itself; older ones are void."""
    hub.fleet.get(terminal_id)
    if asked is None or not asked.shown:
        return CodeGiven(terminal_id=terminal_id, code=_claims(request).issue(terminal_id))
    _claims(request).expect(terminal_id, asked.shown)
    return CodeGiven(terminal_id=terminal_id, code="")


@routes.post("/terminals/{terminal_id}/revocation", dependencies=ADMIN, tags=["terminals"])
def revoke(request: Request, hub: TheHub, terminal_id: str) -> TerminalGiven:
    """It was lost or stolen: its certificates, codes and right to renew end, and its groups' keys are replaced."""
    hub.fleet.get(terminal_id)
    _claims(request).revoke(terminal_id)
    return TerminalGiven.of(hub.fleet.get(terminal_id))


@routes.get("/terminals/{terminal_id}/open-deletions", dependencies=READ, tags=["terminals"])
def list_open_deletions(hub: TheHub, terminal_id: str) -> list[DeletionGiven]:
    """Deletions whose receipt the terminal still owes, and groups that it has left and may still hold."""
    hub.fleet.get(terminal_id)
    return [DeletionGiven(**one._asdict()) for one in hub.fleet.open_deletions(terminal_id)]


@routes.get("/terminals/{terminal_id}/state", dependencies=READ, tags=["commands"])
def get_state(hub: TheHub, terminal_id: str) -> StateGiven:
    hub.fleet.get(terminal_id)
    return _state(hub.orders.wanted(terminal_id))


@routes.put("/terminals/{terminal_id}/state", dependencies=WRITE, tags=["commands"])
def set_state(hub: TheHub, terminal_id: str, asked: StateAsked) -> StateGiven:
    """Lockdown, free or normal; holds until told otherwise, or until `until`, over restarts."""
    return _state(hub.orders.want(terminal_id, asked.mode, asked.until))


@routes.get("/terminals/{terminal_id}/config", dependencies=ADMIN, tags=["commands"])
def get_config(hub: TheHub, terminal_id: str) -> ConfigGiven:
    """What the terminal is to apply; it may hold a camera's password."""
    found = hub.configurations.get(terminal_id)
    if found is None:
        raise NotThere(f"terminal {terminal_id} was given no configuration")
    return ConfigGiven(terminal_id=terminal_id, version=found.version, text=found.text)


@routes.put("/terminals/{terminal_id}/config", dependencies=ADMIN, tags=["commands"])
def set_config(hub: TheHub, terminal_id: str, asked: ConfigAsked) -> ConfigGiven:
    """Have it apply this text; the terminal's entry says which version is wanted and which is applied."""
    version = hub.configurations.put(terminal_id, asked.text)
    return ConfigGiven(terminal_id=terminal_id, version=version, text=asked.text)


@routes.post("/terminals/{terminal_id}/commands", dependencies=WRITE, status_code=201, tags=["commands"])
def add_command(hub: TheHub, token: Caller, terminal_id: str, asked: CommandAsked) -> CommandGiven:
    """Once, now, or never: ask for the outcome at /commands/{command_id}."""
    command_id = hub.orders.command(terminal_id, asked.verb, asked.seconds, asked.argument, token.token_id)
    return CommandGiven.of(hub.orders.get(command_id))


@routes.get("/commands/{command_id}", dependencies=READ, tags=["commands"])
def get_command(hub: TheHub, command_id: str) -> CommandGiven:
    return CommandGiven.of(hub.orders.get(command_id))


@routes.get("/tokens", dependencies=ADMIN, tags=["tokens"])
def list_tokens(hub: TheHub) -> list[TokenGiven]:
    return [TokenGiven.of(one) for one in hub.tokens.all()]


@routes.post("/tokens", dependencies=ADMIN, status_code=201, tags=["tokens"])
def add_token(hub: TheHub, asked: TokenAsked) -> TokenMade:
    secret, kept = hub.tokens.make(asked.scope, asked.title, asked.expires)
    return TokenMade(token=secret, kept=TokenGiven.of(kept))


@routes.delete("/tokens/{token_id}", dependencies=ADMIN, status_code=204, tags=["tokens"])
def revoke_token(hub: TheHub, token_id: str) -> None:
    hub.tokens.revoke(token_id)


def _claims(request: Request) -> Claims:
    claims: Claims | None = request.app.state.claims
    if claims is None:
        raise InTheWay("this hub runs without a broker's side; use `fleethub terminal`")
    return claims


def _state(wanted: Wanted) -> StateGiven:
    return StateGiven(terminal_id=wanted.terminal_id, version=wanted.version, mode=wanted.mode, until=wanted.until,
                      config_version=wanted.config_version)
