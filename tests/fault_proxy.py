"""A TCP proxy between a client and the broker, whose line can be cut, go dead, crawl, delay or flip bits."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import dataclass


@dataclass
class Line:
    """What the line does to what passes it; change it at any time.

    is_dead       bytes are swallowed and connections stay open: no reset, no end
    is_refusing   new connections are closed at once
    delay_s       before each piece is passed on
    bytes_per_s   0 for as fast as it goes
    flips         share of pieces in which one bit is flipped
    """

    is_dead: bool = False
    is_refusing: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    flips: float = 0.0


class FaultProxy:
    """Listens on loopback and passes everything on to `target`, as `line` allows."""

    def __init__(self, target: int, seed: int = 1) -> None:
        self.line = Line()
        self.passed = 0
        self._target, self._chance = target, random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def cut(self) -> None:
        """End all connections that there are."""
        self._loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._cut()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.05)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.line.is_refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.wait({asyncio.create_task(self._pass(reader, far_writer)),
                                asyncio.create_task(self._pass(far_reader, writer))},
                               return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (writer, far_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(16_384):
                line = self.line
                if line.delay_s:
                    await asyncio.sleep(line.delay_s)
                if line.bytes_per_s:
                    await asyncio.sleep(len(data) / line.bytes_per_s)
                if line.is_dead:
                    continue
                if line.flips and self._chance.random() < line.flips:
                    at = self._chance.randrange(len(data))
                    data = data[:at] + bytes([data[at] ^ 1 << self._chance.randrange(8)]) + data[at + 1:]
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return
