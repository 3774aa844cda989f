"""Records for tests of the store: made up, none of a real person."""

from datetime import datetime, timezone

import numpy as np

from device.clock import HandClock
from device.store.cache_writer import CacheWriter
from device.store.records import Consent, NewEntry, Person, Template
from device.store.seal import Key

KEY = Key(bytes(range(32)))
NOW = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
MODEL = "sample-model-1"
CONSENT = Consent("c1", "text-1", ("face template",), ("opening this door",), NOW, "paper")
BOOT = "b" * 32


def person(number, consent=CONSENT, **fields):
    return Person(f"{number:032x}", f"Canary Name {number}", consent=consent, **fields)


def template(number, of=None, model_id=MODEL, dimensions=192):
    vector = np.random.default_rng(number).standard_normal(dimensions)
    vector /= np.linalg.norm(vector)
    scale = float(np.float32(np.abs(vector).max() / 127))
    return Template(f"{number:032x}", f"{number if of is None else of:032x}", model_id,
                    np.round(vector / scale).astype(np.int8).tobytes(), scale, 0.75, NOW)


def enrolled(path, count, key=KEY):
    """A gallery of so many people with one template each; the writer, open."""
    writer = CacheWriter.open(path, key, HandClock(), lock_wait_s=0)
    with writer.together():
        for number in range(count):
            writer.put_person(person(number))
            writer.put_template(template(number))
    return writer


def release(number=0):
    return NewEntry("release", "granted_face", f"{number:032x}", (("score", 0.5 + number / 1000), ("frames", 3)))
