"""Passes connections on to a unix socket: `python relay.py ADDRESS PORT SOCKET`."""

import asyncio
import sys
from contextlib import suppress


async def main(address: str, port: str, path: str) -> None:
    """Serve until the process is ended."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond = await asyncio.open_unix_connection(path)
        await asyncio.gather(copy(reader, beyond[1]), copy(beyond[0], writer))

    server = await asyncio.start_server(pass_on, address, int(port))
    await server.serve_forever()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until one of them hangs up, and hang up on the other."""
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
