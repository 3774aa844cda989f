"""Log lines as JSON for the system's journal, as text for a person at a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
LONGEST = 2000


class JsonFormatter(logging.Formatter):
    """One line, one object, with the priority before it that journald understands (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        said = {"level": record.levelname.lower(), "from": record.name, "said": record.getMessage()[:LONGEST]}
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)[-LONGEST:]
        return f"<{_PRIORITY.get(record.levelno, 6)}>{json.dumps(said, ensure_ascii=False)}"


def set_up(level: int, environment: Mapping[str, str] | None = None) -> None:
    """Log to stderr: as JSON where that is the system's journal, else as text."""
    given = os.environ if environment is None else environment
    handler = logging.StreamHandler(sys.stderr)
    is_journal = "JOURNAL_STREAM" in given
    handler.setFormatter(JsonFormatter() if is_journal
                         else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
