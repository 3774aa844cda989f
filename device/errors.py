"""The terminal's exceptions: few, each a diagnosis that an installer can act on.

Expected things (no face, unknown person, poor picture) are values, never exceptions.
Every message is one line that says what is wrong and what to do.
"""


class TerminalError(Exception):
    """Root of everything that the terminal raises on purpose.

    `exit_code` is what a command ends with: 1 refused or failed, 2 wrong usage or configuration.
    """

    exit_code = 1


class ConfigError(TerminalError, ValueError):
    """The configuration cannot be used; the message names the key and the remedy."""

    exit_code = 2


class UsageError(TerminalError, ValueError):
    """A command was called with arguments that cannot work."""

    exit_code = 2


class PictureRefused(TerminalError, ValueError):
    """A picture cannot be read or is not fit to be read (empty, damaged, far too large)."""


class EnrolmentRefused(TerminalError, ValueError):
    """A person cannot be enrolled; the message gives the reason."""


class TemplateRefused(TerminalError, ValueError):
    """A template or its ids cannot be used: damaged, malformed or there already."""


class ModelMismatch(TerminalError, ValueError):
    """A model file is missing, altered or gives other vectors than its card says."""


class CameraLost(TerminalError, OSError):
    """The camera yields no frames."""


class HardwareMissing(TerminalError, OSError):
    """There is no pin factory, or a pin cannot be had."""

    exit_code = 2


class StoreError(TerminalError, OSError):
    """A database cannot be opened, read or written."""


class JournalBroken(StoreError):
    """The journal's hash chain does not verify; the message names the first bad entry."""


class SealBroken(StoreError, ValueError):
    """A sealed record does not open under the terminal's key."""
