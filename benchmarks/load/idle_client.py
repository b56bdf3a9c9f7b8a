"""Holds idle keep-alive connections; a process of its own, driven line by line through stdin and stdout.

``open N`` opens N more, each of which does one checked request and then rests; ``count`` says how many the
server has left open; ``close`` closes them all. Every command is answered by one line: the number of open
connections.
"""

from __future__ import annotations

import argparse
import resource
import sys

from benchmarks.load.answers import Client, ask
from benchmarks.load.scenarios import LOADS


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def obey(line: str, clients: list[Client], port: int, *, echoes: bool) -> int:
    match line.split():
        case ["open", count]:
            for _ in range(int(count)):
                client = Client(port)
                clients.append(client)
                ask(client, LOADS["json"], echoes=echoes)
        case ["count"]:
            return sum(client.is_open() for client in clients)
        case ["close"]:
            for client in clients:
                client.close()
            clients.clear()
        case _:
            raise ValueError(f"expected open N, count or close, got {line!r}")
    return len(clients)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fixed-answer", action="store_true")
    args = parser.parse_args()
    raise_file_limit()
    clients: list[Client] = []
    for line in sys.stdin:
        print(obey(line, clients, args.port, echoes=not args.fixed_answer), flush=True)


if __name__ == "__main__":
    main()
