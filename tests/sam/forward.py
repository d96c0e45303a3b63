"""Passes TCP connections on: forward.py ADDRESS URL listens on a free port of ADDRESS, prints its URL and
hands every connection to the host and port of URL. It ends with the script that started it."""

import asyncio
import sys
import urllib.parse

ADDRESS, TARGET = sys.argv[1], urllib.parse.urlsplit(sys.argv[2])


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def connected(reader, writer):
    there_reader, there_writer = await asyncio.open_connection(TARGET.hostname, TARGET.port)
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))


async def main():
    server = await asyncio.start_server(connected, ADDRESS, 0)
    print(f"http://{ADDRESS}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
