"""Sends events to webhooks, in order and at least once, in the background.

Each webhook is served by itself: one that is slow or away holds up no other. What follows its cursor is tried until
the receiver takes it (2xx), after pauses that double up to an hour; the cursor lies in the database, so a restart
neither loses anything nor forgets how long a pause is. Called by `serve`; `try_out` by the API and the CLI.

    five times refused as such (400, 413, 415, 422)    the event is passed over
    410, or three days without one success             the webhook is given up, until somebody resumes it
    whatever else                                      the same event again, later
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from device.clock import Clock
from device.errors import StoreError
from device.threads import Worker
from sync.hub.errors import NotThere
from sync.hub.events import Event
from sync.hub.hub import Hub
from sync.hub.posting import Answer, post
from sync.hub.tidings import body_of, headers_for, message_id, trial_body
from sync.hub.webhooks import LONGEST_WAIT_S, MOST, Keyed, Webhook

log = logging.getLogger(__name__)
_chance = secrets.SystemRandom()

LOOK_S = 0.25
AT_ONCE = 20  # told of before the cursor is written; a kill repeats at most these
FIRST_WAIT_S = 2.0
REFUSALS = (400, 413, 415, 422)
MOST_REFUSALS = 5
GONE = 410
GIVE_UP_AFTER = timedelta(days=3)
LEAST_TRIES = 60  # in three days there are more; a clock that leaps makes a receiver no worse
MOST_WAITING = 1_000_000


class Messenger:
    """One per running hub."""

    def __init__(self, hub: Hub, clock: Clock, chance: Callable[[], float] = _chance.random) -> None:
        self._hub, self._clock, self._chance = hub, clock, chance
        self._worker = Worker("webhooks", self._work, clock)
        self._pool = ThreadPoolExecutor(MOST, "webhook")
        # Its owner adds, whoever has served a webhook takes it out again.
        self._busy: set[str] = set()
        self._guard = threading.Lock()

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Waits for tries that are under way: ten seconds at most."""
        self._worker.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def deliver(self, webhook_id: str) -> None:
        """Tell one webhook of what follows its cursor, as far as it goes now. NotThere where it was removed."""
        hook, keyed = self._hub.webhooks.get(webhook_id), self._hub.webhooks.keyed(webhook_id)
        if hook.waiting > MOST_WAITING:
            self._give_up(hook, f"more than {MOST_WAITING:,} events wait")
            return
        waiting = self._hub.outbox.after(hook.cursor, hook.kinds, AT_ONCE)
        cursor, delivered = hook.cursor, 0
        for number, event in waiting.events:
            if self._worker.stopping.is_set():
                break
            answer = self._send(webhook_id, keyed, event)
            if not answer.is_taken:
                self._not_taken(hook, answer, cursor, delivered, number)
                return
            cursor, delivered = number, delivered + 1
        else:
            cursor = waiting.through
        if cursor != hook.cursor:
            self._hub.webhooks.told(webhook_id, cursor, delivered)
            if hook.tries:
                log.info("webhook %s takes events again", webhook_id)

    def _send(self, webhook_id: str, keyed: Keyed, event: Event) -> Answer:
        body = body_of(event)
        return post(keyed.to, headers_for(keyed.secret, message_id(webhook_id, event), self._clock.now(), body), body)

    def _not_taken(self, hook: Webhook, answer: Answer, cursor: int, delivered: int, number: int) -> None:
        if delivered:
            self._hub.webhooks.told(hook.webhook_id, cursor, delivered)
        tries, since = (1, None) if delivered else (hook.tries + 1, hook.failing_since)
        now = self._clock.now()
        if answer.status == GONE:
            self._give_up(hook, f"{answer.problem}: it wants no more")
        elif answer.status in REFUSALS and tries >= MOST_REFUSALS:
            log.warning("webhook %s refuses an event: %s; it is passed over", hook.webhook_id, answer.problem)
            self._hub.webhooks.told(hook.webhook_id, number, 0, passed_over=1)
        elif since is not None and tries >= LEAST_TRIES and now - since >= GIVE_UP_AFTER:
            self._give_up(hook, f"three days without success: {answer.problem}")
        else:
            if tries == 1:
                log.warning("webhook %s cannot be told of an event: %s", hook.webhook_id, answer.problem)
            pause = timedelta(seconds=self._pause_s(tries, answer.retry_after_s))
            self._hub.webhooks.failed(hook.webhook_id, answer.problem, now + pause)

    def _give_up(self, hook: Webhook, problem: str) -> None:
        log.error("webhook %s is given up: %s", hook.webhook_id, problem)
        self._hub.webhooks.give_up(hook.webhook_id, problem)

    def _pause_s(self, tries: int, asked_s: int) -> float:
        """Doubled from try to try, and between half and all of that by chance, so that not everything comes at once
        when a receiver is back."""
        pause = min(FIRST_WAIT_S * (1 << min(tries - 1, 20)), LONGEST_WAIT_S)
        return max(pause * (1 + self._chance()) / 2, min(asked_s, LONGEST_WAIT_S))

    # --- threads ---------------------------------------------------------------------------------------------

    def _work(self, worker: Worker) -> None:
        while not worker.stopping.wait(LOOK_S):
            worker.beat()
            try:
                due = self._hub.webhooks.due()
            except StoreError as error:
                log.error("webhooks: %s", error)
                continue
            for webhook_id in due:
                self._begin(webhook_id)

    def _begin(self, webhook_id: str) -> None:
        with self._guard:
            if webhook_id in self._busy:
                return
            self._busy.add(webhook_id)
        self._pool.submit(self._serve, webhook_id)

    def _serve(self, webhook_id: str) -> None:
        try:
            self.deliver(webhook_id)
        except NotThere:
            pass
        except StoreError as error:
            log.error("webhook %s: %s", webhook_id, error)
        except Exception:
            log.exception("webhook %s could not be served", webhook_id)
        finally:
            with self._guard:
                self._busy.discard(webhook_id)


def try_out(hub: Hub, webhook_id: str) -> Answer:
    """Send a message of the type `test`, now and once; how it stands with events does not change by it."""
    keyed, now = hub.webhooks.keyed(webhook_id), hub.clock.now()
    body = trial_body(webhook_id, now)
    return post(keyed.to, headers_for(keyed.secret, f"test_{secrets.token_hex(16)}", now, body), body)
