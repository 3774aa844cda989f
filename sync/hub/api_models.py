"""What the API takes and gives, as OpenAPI states it. Unknown fields are refused, times carry a zone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from device.store.records import Consent, PersonClass
from sync.hub.directory import Known
from sync.hub.enrol import Enrolled
from sync.hub.events import Event
from sync.hub.orders import Command, Mode, Verb
from sync.hub.overview import Terminal
from sync.hub.people import Newcomer
from sync.hub.tokens import Token

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$")]
PersonId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Title = Annotated[str, Field(max_length=200)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SiteAsked(Asked):
    site_id: Name
    title: Title = ""
    time_zone: Word = "UTC"


class TimeZoneAsked(Asked):
    """A name like Asia/Shanghai."""

    time_zone: Word


class GroupAsked(Asked):
    group_id: Name
    site_id: Name
    title: Title = ""


class GroupsAsked(Asked):
    groups: Annotated[list[Name], Field(max_length=50)]


class PersonAsked(Asked):
    label: Annotated[str, Field(min_length=1, max_length=100)]
    groups: Annotated[list[Name], Field(min_length=1, max_length=50)]
    external_id: Annotated[str, Field(max_length=100)] | None = None
    person_class: PersonClass = PersonClass.REGULAR
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None

    def newcomer(self) -> Newcomer:
        return Newcomer(self.label, tuple(self.groups), self.external_id, self.person_class, self.valid_from,
                        self.valid_until)


class PersonChanged(Asked):
    """What is left out stays; valid_from and valid_until are set together."""

    label: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    person_class: PersonClass | None = None
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None


class ConsentAsked(Asked):
    consent_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    text_version: Word
    kinds: Annotated[list[Word], Field(min_length=1, max_length=20)]
    purposes: Annotated[list[Word], Field(min_length=1, max_length=20)]
    given_at: AwareDatetime
    means: Word
    valid_until: AwareDatetime | None = None

    def record(self) -> Consent:
        return Consent(self.consent_id, self.text_version, tuple(self.kinds), tuple(self.purposes), self.given_at,
                       self.means, self.valid_until)


class TerminalAsked(Asked):
    terminal_id: Name
    site_id: Name
    groups: Annotated[list[Name], Field(max_length=50)] = []
    title: Title = ""


class StateAsked(Asked):
    mode: Mode
    until: AwareDatetime | None = None


class ConfigAsked(Asked):
    """The text of a terminal.toml, or of those of its tables that are to change."""

    text: Annotated[str, Field(max_length=64_000)]


class CommandAsked(Asked):
    verb: Verb
    seconds: Annotated[float, Field(gt=0, le=60)] | None = None
    argument: Title = ""


class TokenAsked(Asked):
    scope: Literal["read", "write", "admin"]
    title: Title = ""
    expires: AwareDatetime | None = None


# --- given -----------------------------------------------------------------------------------------------


class Problem(BaseModel):
    """Why something was refused. field is empty where no single one is to blame."""

    field: str = ""
    reason: str


class Problems(BaseModel):
    problems: list[Problem]


class GroupGiven(BaseModel):
    group_id: str
    site_id: str
    title: str
    persons: int
    terminals: int


class PersonGiven(BaseModel):
    person_id: str
    label: str
    groups: list[str]
    external_id: str | None
    person_class: PersonClass
    valid_from: AwareDatetime | None
    valid_until: AwareDatetime | None
    consent_id: str | None
    templates: list[str]
    credentials: list[str]

    @classmethod
    def of(cls, known: Known) -> PersonGiven:
        person = known.person
        return cls(person_id=person.person_id, label=person.label, groups=list(person.groups),
                   external_id=known.external_id, person_class=person.person_class, valid_from=person.valid_from,
                   valid_until=person.valid_until, consent_id=person.consent.consent_id if person.consent else None,
                   templates=list(known.template_ids), credentials=list(known.credential_ids))


class PersonsGiven(BaseModel):
    """next: give it as `after` for the following page; null on the last one."""

    persons: list[PersonGiven]
    next: str | None


class EnrolledGiven(BaseModel):
    person_id: str
    templates: list[str]
    qualities: list[float]
    consent_id: str

    @classmethod
    def of(cls, done: Enrolled) -> EnrolledGiven:
        return cls(person_id=done.person_id, templates=list(done.template_ids),
                   qualities=[round(quality, 3) for quality in done.qualities], consent_id=done.consent_id)


class StandingGiven(BaseModel):
    stream: str
    state: str
    seq: int | None
    head_seq: int
    why: str


class TerminalGiven(BaseModel):
    terminal_id: str
    site_id: str
    title: str
    groups: list[str]
    state: str
    why: str
    standings: list[StandingGiven]
    is_online: bool
    reported: AwareDatetime | None
    boot_id: str | None
    journal_seq: int | None
    acked: int | None
    desired_version: int | None
    model_ids: list[str]
    open_deletions: int
    config_wanted: int
    config_applied: int
    health: dict[str, Any]

    @classmethod
    def of(cls, one: Terminal) -> TerminalGiven:
        return cls(
            terminal_id=one.terminal_id, site_id=one.site_id, title=one.title, groups=list(one.groups),
            state=one.state, why=one.why, is_online=one.is_online, reported=one.reported, boot_id=one.boot_id,
            journal_seq=one.journal_seq, acked=one.acked, desired_version=one.desired_version,
            model_ids=list(one.model_ids), open_deletions=one.open_deletions, health=dict(one.health),
            config_wanted=one.config.wanted, config_applied=one.config.reported,
            standings=[StandingGiven(stream=s.stream, state=s.state, seq=s.seq, head_seq=s.head_seq, why=s.why)
                       for s in one.standings])


class DeletionGiven(BaseModel):
    """A deletion whose receipt a terminal still owes; of the kind "group", all of a group that it has left."""

    stream: str
    kind: str
    key: str
    seq: int
    since: AwareDatetime


class StateGiven(BaseModel):
    terminal_id: str
    version: int
    mode: Mode
    until: AwareDatetime | None
    config_version: int


class ConfigGiven(BaseModel):
    """version: what the terminal will report once it has applied it (`config_applied`)."""

    terminal_id: str
    version: int
    text: str


class CommandGiven(BaseModel):
    command_id: str
    terminal_id: str
    verb: Verb
    seconds: float | None
    argument: str
    issued: AwareDatetime
    expires: AwareDatetime
    ordered_by: str
    sent: AwareDatetime | None
    answered: AwareDatetime | None
    outcome: str | None
    reason: str

    @classmethod
    def of(cls, one: Command) -> CommandGiven:
        return cls(command_id=one.command_id, terminal_id=one.terminal_id, verb=one.verb, seconds=one.seconds,
                   argument=one.argument, issued=one.issued, expires=one.expires, ordered_by=one.ordered_by,
                   sent=one.sent, answered=one.answered, outcome=one.outcome, reason=one.reason)


class EventGiven(BaseModel):
    terminal_id: str
    journal_id: str
    seq: int
    at: AwareDatetime
    received: AwareDatetime
    clock_quality: str
    kind: str
    reason: str
    person_id: str | None
    detail: dict[str, Any]

    @classmethod
    def of(cls, one: Event) -> EventGiven:
        return cls(terminal_id=one.terminal_id, journal_id=one.journal_id, seq=one.seq, at=one.at,
                   received=one.received, clock_quality=one.clock_quality, kind=one.kind, reason=one.reason,
                   person_id=one.person_id, detail=one.detail)


class EventsGiven(BaseModel):
    """next: give it as `before` for the following page; null on the last one."""

    events: list[EventGiven]
    next: str | None


class CodeAsked(Asked):
    """shown: what the terminal's own page shows, as its QR code reads (`DOOR1:SERIAL:CODE`)."""

    shown: str = Field("", max_length=100)


class CodeGiven(BaseModel):
    """A claim code, shown this once; empty where the terminal shows one itself."""

    terminal_id: str
    code: str


class TokenGiven(BaseModel):
    token_id: str
    scope: str
    title: str
    created: AwareDatetime
    expires: AwareDatetime | None
    is_revoked: bool

    @classmethod
    def of(cls, one: Token) -> TokenGiven:
        return cls(token_id=one.token_id, scope=one.scope, title=one.title, created=one.created,
                   expires=one.expires, is_revoked=one.is_revoked)


class TokenMade(BaseModel):
    """token: the secret itself, shown this once."""

    token: str
    kept: TokenGiven
