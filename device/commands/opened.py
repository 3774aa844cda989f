"""What several commands open: the configuration, the pack in use, and the gallery of a stand-alone terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device.clock import SystemClock
from device.config import DEFAULT_PATH, Config, parse_config, read_config
from device.errors import EnrolmentRefused, StoreError
from device.face.card import Card
from device.face.gallery import Gallery
from device.face.threshold import Threshold, site_scores, threshold_for
from device.packs import library
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.nameplate import Nameplate
from device.store.places import is_linked, link_path, make_folders, places
from device.store.seal import load_key
from device.store.sqlite import Damaged

_ALONE = "the next `doorctl enrol` or start of doord sets it aside and begins an empty one: then enrol everyone again"
_FROM_HUB = "restart door-syncd, which sets it aside and takes everyone from the hub anew"


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """The gallery as the door would use it, with its threshold."""

    card: Card
    gallery: Gallery
    threshold: Threshold


def add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"terminal.toml (default {DEFAULT_PATH})")


def configuration(arguments: argparse.Namespace) -> Config:
    """The terminal's configuration; where there is no file and none was named, the defaults.

    For commands that drive no lock: a door refuses to start without a configuration that names it.
    """
    if arguments.config is None and not DEFAULT_PATH.exists():
        return parse_config({"door": {"lock": "strike"}}, "the built-in defaults")
    return read_config(arguments.config or DEFAULT_PATH)


def pack(config: Config) -> Card:
    """The card of the pack in use, self-tested."""
    return library.open_pack(None if config.face.pack == "auto" else config.face.pack)


def load_enrolled(reader: CacheReader | None, card: Card, config: Config) -> Enrolled:
    """Everyone of the pack's model, nobody where there is no gallery, and the threshold that the door would use."""
    columns = reader.columns(card.model_id) if reader is not None else None
    dimensions = card.recogniser.dimensions
    if columns is not None and len(columns):
        gallery = Gallery.build(card.model_id, dimensions, columns.template_ids, columns.person_ids, columns.vectors,
                                columns.scales, columns.generation)
    else:
        gallery = Gallery.empty(card.model_id, dimensions)
    threshold = threshold_for(card.populations, config.face.fpir, len(gallery), site_scores(gallery))
    return Enrolled(card, gallery, threshold)


@contextlib.contextmanager
def gallery_writer() -> Iterator[CacheWriter]:
    """The gallery of a stand-alone terminal, to be written; EnrolmentRefused names the hub where there is one."""
    refuse_linked()
    where = places()
    make_folders(where)
    writer = CacheWriter.open(where.gallery_db, load_key(where), SystemClock())
    if writer.set_aside is not None:
        is_gone = writer.set_aside == where.gallery_db
        became = "is gone" if is_gone else f"was damaged; it was set aside as {writer.set_aside}"
        sys.stderr.write(f"doorctl: the gallery {became}, and a new, empty one begun: enrol again\n")
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def gallery_reader() -> Iterator[CacheReader | None]:
    """The gallery, to be read; None where nobody was ever enrolled. StoreError says what becomes of a damaged one."""
    where = places()
    if not where.gallery_db.exists() and Nameplate(where.gallery_db).read() is None:
        yield None
        return
    try:
        reader = CacheReader.open(where.gallery_db, load_key(where))
        try:
            yield reader
        finally:
            reader.close()
    except Damaged as error:
        if not str(error).startswith(f"{where.gallery_db}: "):  # of another file, which the caller reads besides
            raise
        raise StoreError(f"{error}; {_FROM_HUB if is_linked() else _ALONE}") from None


def refuse_linked() -> None:
    """EnrolmentRefused where a hub owns the gallery."""
    if is_linked():
        raise EnrolmentRefused(f"this terminal takes its people from a hub ({link_path()}): enrol and remove them "
                               "there")

