"""A TCP proxy in front of Milvus that can refuse connections, swallow what comes, or pass it on late."""

import asyncio
import threading
from contextlib import suppress

CHUNK = 1 << 16


class MilvusProxy:
    """Listens on a loopback port and passes everything on to Milvus; a thread of its own runs it.

    Attributes:
        target: the host and port of Milvus, to which each new connection leads.
        port: the port that it listens on.
        delay_s: seconds that each piece of data waits.
        swallows: connections stay open, and nothing passes.
        refuses: connections are closed, the open ones and each new one.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = host, port
        self.port, self.delay_s, self.swallows, self.refuses = 0, 0.0, False, False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True, name="milvus proxy").start()
        started.wait()

    def refuse(self) -> None:
        """Closes all connections, and each new one until `refuses` is False again."""
        self.refuses = True
        self._loop.call_soon_threadsafe(self._close_all)

    def lead_to(self, host: str, port: int) -> None:
        """Closes all connections; each new one leads to this Milvus."""
        self.target = host, port
        self._loop.call_soon_threadsafe(self._close_all)

    def _close_all(self) -> None:
        for writer in self._writers:
            writer.close()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.close()
            return
        to_reader, to_writer = await asyncio.open_connection(*self.target)
        self._writers |= {writer, to_writer}
        await asyncio.gather(self._copy(reader, to_writer), self._copy(to_reader, writer))
        self._writers -= {writer, to_writer}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self.delay_s)
                while self.swallows:
                    await asyncio.sleep(0.05)
                writer.write(data)
                await writer.drain()
        writer.close()
