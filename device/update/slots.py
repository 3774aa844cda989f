"""Slots: the release folders, which of them runs, and which one ran before it.

The two links are switched in one step each; nothing else decides what starts at the next boot.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from device.update.disk import FRESH, UpdateFailed, guarded, point, remove, remove_tree, sync_folder
from device.update.layout import Layout
from device.update.release import NAME, Release, read_release
from device.update.version import Version, is_version

KEPT = 3
"""Releases on the card at most: the one that runs, the one before it, and one that is being installed."""


class Slots:
    """Owned by whoever holds the updater's lock."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def current(self) -> Release:
        """The release that runs, or will at the next start; UpdateFailed where none is installed."""
        release = self._pointed(self._layout.current)
        if release is None:
            raise UpdateFailed(f"{self._layout.current}: no release is installed here; run firmware_scripts/install")
        return release

    @property
    def previous(self) -> Release | None:
        """The one that ran before."""
        return self._pointed(self._layout.previous)

    def whole(self) -> list[Release]:
        """Every release that can be started, oldest first."""
        found = [release for path in self._folders() if (release := read_release(path)) is not None]
        return sorted(found, key=lambda release: release.version)

    def keep(self, version: Version) -> None:
        """Make this release the one to go back to."""
        self._point(self._layout.previous, version)

    def switch(self, version: Version) -> None:
        """Make this release the one that starts; UpdateFailed where it is not a whole one."""
        self._point(self._layout.current, version)

    def sweep(self) -> list[str]:
        """Remove what cuts have left; the names of it. What is not named like a release is somebody else's."""
        held = self._held()
        left = [path for path in self._folders() if read_release(path) is None and path.name not in held
                and is_version(path.name)]
        for path in left:
            remove_tree(path)
        for link in (self._layout.current, self._layout.previous):
            remove(link.with_name(FRESH + link.name))
        return [path.name for path in left]

    def make_room(self) -> list[str]:
        """Remove the oldest releases until one more may come, never the running or the previous one; their names."""
        held, whole = self._held(), self.whole()
        spare = [release for release in whole if str(release.version) not in held]
        gone = [str(release.version) for release in spare[: max(len(whole) - KEPT + 1, 0)]]
        for name in gone:
            self.discard(self._layout.releases / name)
        return gone

    def discard(self, folder: Path) -> None:
        """Remove one release; cut off in the middle it is a leftover, not a release. UpdateFailed where it is in
        use."""
        if folder.name in self._held():
            raise UpdateFailed(f"{folder}: in use; it is not removed")
        with guarded(folder):
            remove(folder / NAME)
            remove_tree(folder)
            sync_folder(folder.parent)

    def _point(self, link: Path, version: Version) -> None:
        folder = self._layout.release(version)
        if read_release(folder) is None:
            raise UpdateFailed(f"{folder}: not a whole release; it cannot be started")
        with guarded(link):
            point(link, f"releases/{version}")

    def _pointed(self, link: Path) -> Release | None:
        try:
            name = Path(os.readlink(link)).name
        except OSError:
            return None
        return read_release(self._layout.releases / name)

    def _held(self) -> set[str]:
        held = set()
        for link in (self._layout.current, self._layout.previous):
            with contextlib.suppress(OSError):
                held.add(Path(os.readlink(link)).name)
        return held

    def _folders(self) -> list[Path]:
        with guarded(self._layout.releases):
            return [path for path in sorted(self._layout.releases.iterdir()) if path.is_dir()]
