"""The live picture as a stream of JPEGs (multipart/x-mixed-replace), for a page's <img>."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from device.kiosk.form import PageRefused
from device.kiosk.preview import PREVIEW_FPS, Preview

MOST_VIEWERS = 8
_WAIT_S = 1.0
_PART = b"--frame\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"


def pictures(preview: Preview, is_mirrored: bool = True) -> Response:
    """The stream; PageRefused where too many look already."""
    if preview.viewers >= MOST_VIEWERS:
        raise PageRefused("too many screens are open", "page.busy", 503)
    return StreamingResponse(_stream(preview, is_mirrored), media_type="multipart/x-mixed-replace; boundary=frame")


async def _stream(preview: Preview, is_mirrored: bool) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    preview.viewers += 1
    count, due = 0, loop.time()
    try:
        while not preview.is_over:
            await asyncio.sleep(max(due - loop.time(), 0.0))
            found = await run_in_threadpool(preview.next, count, _WAIT_S, is_mirrored)
            due = max(due + 1 / PREVIEW_FPS, loop.time())
            if found is not None:
                count, data = found
                yield _PART % len(data) + data + b"\r\n"
    finally:
        preview.viewers -= 1
