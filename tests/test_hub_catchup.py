"""Serving who lags: a snapshot is on its way while it is still being made."""

from __future__ import annotations

import pytest
from hub_samples import open_hub
from sync_samples import enrol, put_people

from device.clock import HandClock
from device.store.trust import Opener, Verifier
from sync.hub import editions, pages
from sync.hub.catchup import CatchUp, Job, Way
from sync.hub.editions import Editions
from sync.hub.ledger import Drop
from sync.hub.roster import Terminal
from sync.wire.codec import decode, decode_body
from sync.wire.messages import Page, PageDetail, detail_place
from sync.wire.sign import Signer

STREAM = "group/staff"


class Line:
    """A link that takes what it has room for, and notes how many pages were made by then; heads go by unnoticed."""

    def __init__(self, made: list[Page], verifier: Verifier, opener: Opener) -> None:
        self.is_up = True
        self.room = 1000
        self.carried: list[tuple[int, Page]] = []
        self._made, self._verifier, self._opener = made, verifier, opener

    def publish(self, topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        if self.is_up:
            self.room -= 1
            message = decode(data, topic, self._verifier, self._opener)
            if isinstance(message, Page):
                self.carried.append((len(self._made), message))
        return self.is_up

    def wait_for_room(self, timeout: float) -> bool:
        if timeout and self.is_up:
            self.room = max(self.room, 1)  # the broker has taken something meanwhile
        return self.is_up and self.room > 0


class Desk:
    """A hub with a large group, one terminal that has nothing, and the line to it."""

    def __init__(self, hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub, self.made = hub, list[Page]()
        real = editions._page

        def counted(*given: object) -> Page:
            page = real(*given)
            self.made.append(page)
            return page

        monkeypatch.setattr(editions, "_page", counted)
        signer, opener = Signer.new(), Opener.new()
        self.line = Line(self.made, Verifier([signer.public]), opener)
        self.editions = Editions(hub.ledger, hub.keys)
        self.catchup = CatchUp(self.editions, signer, hub.clock, self.line)
        self.terminal = Terminal("t1", "hq", signer.public, opener.public, ("group/staff",))

    def ask(self) -> bool:
        head = self.hub.ledger.head(STREAM)
        return self.catchup.ask(Job(self.terminal, STREAM, Way.SNAPSHOT, head.epoch, head.seq))

    def details(self, group: str = "staff") -> list[PageDetail]:
        """Of the pages that were carried, in their order."""
        key = self.hub.keys.of_stream(f"group/{group}")
        return [decode_body(key.open(page.detail, detail_place(page)), PageDetail) for _, page in self.line.carried]

    def is_whole(self, group: str = "staff") -> bool:
        """Whether every part of one snapshot was carried, once and in order."""
        details = self.details(group)
        return [detail.part for detail in details] == list(range(details[0].parts))


@pytest.fixture
def desk(tmp_path, tmp_path_factory, monkeypatch):
    hub = open_hub(tmp_path / "hub", tmp_path_factory, HandClock())
    put_people(hub, 3000)
    yield Desk(hub, monkeypatch)
    hub.close()


def test_the_first_parts_are_sent_while_the_rest_is_being_made(desk):
    desk.ask()
    assert desk.catchup.step()
    assert len(desk.made) > 5
    assert [made for made, _ in desk.line.carried] == list(range(1, len(desk.made) + 1))
    assert desk.is_whole()
    head = desk.hub.ledger.head(STREAM)
    assert {page.to_seq for _, page in desk.line.carried} == {head.seq}
    assert {detail.digest for detail in desk.details()} == {head.digest}
    assert desk.catchup.counts["snapshot"] == 1


def test_a_line_without_room_does_not_hold_up_the_making(desk):
    desk.line.room = 2
    desk.ask()
    assert desk.catchup.step()
    assert [made for made, _ in desk.line.carried] == [1, 2, *[len(desk.made)] * (len(desk.made) - 2)]
    assert desk.is_whole()


def test_a_snapshot_is_made_once_for_all_and_anew_once_something_was_dropped(desk):
    for _ in range(2):
        desk.ask()
        desk.catchup.step()
        desk.catchup.forget()
    parts = len(desk.made)
    assert len(desk.line.carried) == 2 * parts
    desk.hub.ledger.append(STREAM, [Drop("person", f"{1:032x}"), Drop("template", f"{1:032x}")])
    desk.editions.forget_drops(STREAM)
    desk.ask()
    desk.catchup.step()
    assert len(desk.made) > parts


def test_what_is_dropped_while_a_snapshot_is_being_made_is_in_none_that_is_kept(desk):
    reader = desk.editions.reader(desk.terminal, STREAM)
    desk.editions.snapshot(reader, STREAM, take=lambda page: desk.editions.forget_drops(STREAM))
    parts = len(desk.made)
    desk.editions.snapshot(reader, STREAM)
    assert len(desk.made) == 2 * parts
    desk.editions.snapshot(reader, STREAM)
    assert len(desk.made) == 2 * parts


def test_a_link_that_is_lost_on_the_way_leaves_the_job_to_be_asked_for_again(desk):
    publish = desk.line.publish

    def lose(topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        desk.line.is_up = len(desk.line.carried) < 3
        return publish(topic, data)

    desk.line.publish = lose
    desk.ask()
    assert desk.catchup.step()
    assert len(desk.line.carried) == 3
    assert desk.catchup.counts["snapshot"] == 0
    desk.line.is_up, desk.line.publish = True, publish
    desk.line.carried.clear()
    assert desk.ask()
    assert desk.catchup.step()
    assert desk.is_whole()


def test_a_terminal_that_goes_away_meanwhile_is_sent_no_more(desk, monkeypatch):
    real = desk.line.publish

    def leave(topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        if len(desk.line.carried) == 2:
            desk.catchup.withdraw("t1")
        return real(topic, data)

    desk.line.publish = leave
    desk.ask()
    desk.catchup.step()
    assert len(desk.line.carried) == 3
    assert not desk.catchup.step()


def test_somebody_removed_while_a_snapshot_is_being_made_does_not_spoil_it_and_is_erased_after_it(desk, monkeypatch):
    monkeypatch.setattr(pages, "PART_BYTES", 20_000)
    monkeypatch.setattr("sync.hub.storage.BUSY_MS", 50)
    people = sorted(enrol(desk.hub, 300, groups=("lab",)))
    desk.hub.vault._storage._engine.dispose()
    before, gone = desk.hub.ledger.head("group/lab"), people[-1]
    lab = Terminal("t2", "hq", desk.terminal.sign_public, desk.terminal.seal_public, ("group/lab",))
    publish = desk.line.publish

    def remove(topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        if desk.hub.people.has(gone):
            desk.hub.people.remove([gone])
        return publish(topic, data)

    desk.line.publish = remove
    desk.catchup.ask(Job(lab, "group/lab", Way.SNAPSHOT, before.epoch, before.seq))
    assert desk.catchup.step()
    assert desk.is_whole("lab")
    assert {page.to_seq for _, page in desk.line.carried} == {before.seq}
    assert {detail.digest for detail in desk.details("lab")} == {before.digest}
    assert gone not in desk.hub.vault.known()
    desk.hub.tidy()
    keys = desk.hub.where.vault
    assert not [path for path in keys.parent.glob(keys.name + "*") if gone.encode() in path.read_bytes()]


def test_a_snapshot_that_cannot_be_made_may_be_asked_for_again_at_once(desk, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(desk.editions, "snapshot", lambda *_: 1 / 0)
        assert desk.ask()
        with pytest.raises(ZeroDivisionError):
            desk.catchup.step()
    assert desk.ask()
    assert desk.catchup.step()
    assert desk.is_whole()
