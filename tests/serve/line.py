"""A line to a server that can be made silent, slow, or be cut."""

import asyncio
import threading
from contextlib import suppress
from enum import Enum

SLOW_S = 0.6
"""Seconds by which answers come late on a slow line."""


class State(Enum):
    passing = "passing"
    silent = "silent"  # what is sent is swallowed, as by a firewall that drops packets
    slow = "slow"  # answers come late
    stopped = "stopped"  # connections are cut and refused


class Line:
    """A TCP line to a server that does as it is told, in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.state = State.passing
        self.port = 0
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        threading.Thread(target=self._run, args=(listening,), daemon=True).start()
        listening.wait()

    def become(self, state: State) -> None:
        self.state = state
        if state is State.stopped:
            asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    def _run(self, listening: threading.Event) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        self._loop.run_forever()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop.stop()

    async def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state is State.stopped:
            writer.transport.abort()
            return
        answers, requests = await asyncio.open_connection(*self._target)
        self._open |= {writer, requests}
        with suppress(ConnectionError):
            await asyncio.gather(self._pump(reader, requests, 0.0), self._pump(answers, writer, SLOW_S))
        self._open -= {writer, requests}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, slow_s: float) -> None:
        while data := await source.read(65_536):
            if self.state is State.slow:
                await asyncio.sleep(slow_s)
            if self.state is not State.silent:
                sink.write(data)
                await sink.drain()
        sink.close()
