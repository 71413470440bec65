"""``python forwarder.py NAME IP PORT TO``: a program of any name that carries connections to port TO of 127.0.0.1."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(ip: str, port: int, to: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))

    async with await asyncio.start_server(connect, ip, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    Path("/proc/self/comm").write_text(sys.argv[1])
    asyncio.run(main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
