"""Stages of a roll-out: how many terminals are to have a release before the next ones get it; pure.

"1,10%,100%" is one terminal, then a tenth of all, then all. Each counts from the first terminal on, so it includes
those before it.
"""

from __future__ import annotations

import re

from sync.hub.errors import FieldRefused

MOST = 20
USUAL = "1,10%,100%"
_STAGE = re.compile(r"([1-9]\d{0,5})(%?)", re.ASCII)


def sizes(text: str, count: int) -> tuple[int, ...]:
    """How many of `count` terminals each stage reaches, rising; one that reaches no more than the one before is left
    out. FieldRefused where the text is none like 1,10%,100%."""
    words = text.split(",")
    if len(words) > MOST:
        raise FieldRefused("stages", f"at most {MOST}")
    found: list[int] = []
    before = {False: 0, True: 0}  # a number and a share cannot be compared with each other
    for number, is_share in map(_stage, words):
        if number <= before[is_share]:
            raise FieldRefused("stages", f"{text[:60]!r} does not rise")
        before[is_share] = number
        size = min(-(-count * number // 100) if is_share else number, count)
        if size > (found[-1] if found else 0):
            found.append(size)
    return tuple(found)


def _stage(word: str) -> tuple[int, bool]:
    found = _STAGE.fullmatch(word.strip())
    if found is None or (found[2] and int(found[1]) > 100):
        raise FieldRefused("stages", f"{word[:20]!r} is neither a number of terminals nor a share of them; say them "
                           f"like {USUAL}")
    return int(found[1]), bool(found[2])
