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
from device.errors import EnrolmentRefused
from device.face.card import Card
from device.face.gallery import Gallery
from device.face.threshold import Threshold, site_scores, threshold_for
from device.packs import library
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.places import is_linked, link_path, make_folders, places
from device.store.seal import load_key


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


def load_enrolled(reader: CacheReader, card: Card, config: Config) -> Enrolled:
    """Everyone of the pack's model, and the threshold that the door would use."""
    columns = reader.columns(card.model_id)
    dimensions = card.recogniser.dimensions
    if len(columns):
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
        sys.stderr.write(f"doorctl: the gallery was damaged; it was set aside as {writer.set_aside} and a new, empty "
                         "one begun: enrol again\n")
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def gallery_reader() -> Iterator[CacheReader | None]:
    """The gallery, to be read; None where nobody was ever enrolled."""
    where = places()
    if not where.gallery_db.exists():
        yield None
        return
    reader = CacheReader.open(where.gallery_db, load_key(where))
    try:
        yield reader
    finally:
        reader.close()


def refuse_linked() -> None:
    """EnrolmentRefused where a hub owns the gallery."""
    if is_linked():
        raise EnrolmentRefused(f"this terminal takes its people from a hub ({link_path()}): enrol and remove them "
                               "there")

