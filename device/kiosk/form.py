"""What a page posts: a small JSON object, read strictly, field by field; whatever is not asked for is refused."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from device.errors import TerminalError

MOST_BYTES = 2048


class PageRefused(TerminalError, ValueError):
    """A page's request is not carried out.

    word    key of the catalogue, for whoever stands before the screen
    status  of HTTP
    """

    def __init__(self, said: str, word: str = "page.refused", status: int = 400) -> None:
        super().__init__(said)
        self.word, self.status = word, status


async def answer_refusal(request: Request, error: Exception) -> Response:
    """The refusal as the pages understand it: the catalogue's key, and one plain line."""
    assert isinstance(error, PageRefused)  # noqa: S101  (registered for it alone)
    return JSONResponse({"word": error.word, "said": str(error)}, error.status)


class Form:
    """The fields of one request. PageRefused names the field that is missing or wrong, and never quotes it."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = dict(fields)

    @classmethod
    async def of(cls, request: Request, most: int = MOST_BYTES) -> Form:
        """The posted object, of at most so many bytes whatever it claims its length to be."""
        try:
            found = json.loads(await _body(request, most))
        except (ValueError, RecursionError):
            raise PageRefused(f"send one JSON object of at most {most} bytes") from None
        if not isinstance(found, dict):
            raise PageRefused("send one JSON object")
        return cls(found)

    def text(self, name: str, most: int, least: int = 1) -> str:
        """One line of printable text, blanks at its ends left out."""
        value = self._fields.pop(name, None)
        if not isinstance(value, str):
            raise PageRefused(f"{name} must be a text")
        line = " ".join(value.split())
        if not least <= len(line) <= most or not line.isprintable():
            raise PageRefused(f"{name} must have {least} to {most} printable characters", "page.bad_text")
        return line

    def digits(self, name: str, most: int, least: int = 0) -> str:
        """Decimal digits of ASCII and nothing else."""
        value = self._fields.pop(name, None)
        is_good = isinstance(value, str) and least <= len(value) <= most and (not value or (
            value.isascii() and value.isdigit()))
        if not isinstance(value, str) or not is_good:
            raise PageRefused(f"{name} must have {least} to {most} digits", "page.bad_digits")
        return value

    def choice(self, name: str, *among: str) -> str:
        value = self._fields.pop(name, None)
        if value not in among:
            raise PageRefused(f"{name} must be one of {', '.join(among)}")
        return str(value)

    def whole(self, name: str, least: int, most: int) -> int:
        value = self._fields.pop(name, None)
        if type(value) is not int or not least <= value <= most:
            raise PageRefused(f"{name} must be a whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.pop(name, None)
        if type(value) is not bool:
            raise PageRefused(f"{name} must be true or false")
        return value

    def plain(self, name: str) -> Any:
        """The value as it came, for whoever judges it himself."""
        return self._fields.pop(name, None)

    def end(self) -> None:
        """Nothing else may have been sent."""
        if self._fields:
            raise PageRefused(f"{min(self._fields)[:40]!r} is not asked for")


async def _body(request: Request, most: int) -> bytes:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > most:
            return b""
    return data
