"""Cello as its users run it: a default App in production, with nothing switched off.

``--lane`` says where the handler runs; it changes the route's own options and nothing else. ``--builtins``
switches the built-in middlewares on, which then have nothing to do: no request names an origin, and no body
is large enough to be compressed. ``--logs`` logs requests, to whatever reads standard output.
"""

from __future__ import annotations

import argparse

from cello import App, Request


def hello(request: Request) -> dict[str, object]:
    return {"message": "hello", "n": request.query["n"]}


def user(request: Request) -> dict[str, object]:
    return {"message": "hello", "n": request.params["id"]}


async def hello_async(request: Request) -> dict[str, object]:
    return {"message": "hello", "n": request.query["n"]}


async def user_async(request: Request) -> dict[str, object]:
    return {"message": "hello", "n": request.params["id"]}


def application(lane: str) -> App:
    """An App with the two timed routes.

    ``inline`` pins the handlers to the loop's thread, ``threads`` to the handler threads, ``auto`` leaves the
    choice to the dispatcher, and ``async`` has coroutine handlers.
    """
    app = App()
    if lane == "async":
        app.get("/json")(hello_async)
        app.get("/users/{id}")(user_async)
        return app
    blocking = {"inline": False, "threads": True, "auto": None}[lane]
    app.get("/json", blocking=blocking)(hello)
    app.get("/users/{id}", blocking=blocking)(user)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lane", choices=("inline", "threads", "auto", "async"), default="inline")
    parser.add_argument("--builtins", action="store_true")
    parser.add_argument("--logs", choices=("auto", "json", "combined"))
    args = parser.parse_args()
    app = application(args.lane)
    if args.builtins:
        app.enable_cors(origins=["https://example.com"], allow_credentials=True)
        app.enable_compression()
    logs = {"logs": True, "log_format": args.logs} if args.logs else {}
    app.run(host="127.0.0.1", port=args.port, env="production", argv=[], **logs)


if __name__ == "__main__":
    main()
