"""The limit: what uvloop and the kernel cost when nobody reads HTTP.

A bare protocol that answers fixed bytes, about as long as what the others send. It parses nothing, so no
server on this loop can beat it, and the distance to it is what a framework adds. With ``--pipelined`` it
writes one fixed answer per request, counted by the empty lines; the generator sends whole batches, so no
request is ever split.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import uvloop

BODY = b'{"message":"hello","n":"123456"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    b"\r\n%s"
) % (len(BODY), BODY)


class Bare(asyncio.Protocol):
    """One answer per data_received."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)


class BarePipelined(Bare):
    """One answer per request, all of a read in one write."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def serve(host: str, port: int, protocol: type[Bare]) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, host, port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pipelined", action="store_true")
    args = parser.parse_args()
    uvloop.run(serve(args.host, args.port, BarePipelined if args.pipelined else Bare))


if __name__ == "__main__":
    main()
