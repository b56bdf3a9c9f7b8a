"""The script that process tests run, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.process import Process
from tests.kit.raw import RawClient, connected, request

APP = """
import asyncio, os, sys, time
from cello import App, ClusterConfig, Http2Config, Http3Config, LimitsConfig, TimeoutConfig, TlsConfig

app = App()

@app.get("/", blocking=False)
def home(request):
    return "home"

@app.get("/sleep/{seconds:float}")
async def sleep(request):
    print("asleep", flush=True)
    await asyncio.sleep(request.params["seconds"])
    return "slept"

@app.get("/block/{seconds:float}", blocking=True)
def block(request):
    print("blocked", flush=True)
    time.sleep(request.params["seconds"])
    return "unblocked"

@app.get("/hold/{seconds:float}", blocking=False)
def hold(request):
    print("held", flush=True)
    time.sleep(request.params["seconds"])
    return "let go"

@app.get("/stream/{seconds:float}")
async def stream(request):
    for _ in range(10):
        print("streams", flush=True)
        yield "."
        await asyncio.sleep(request.params["seconds"] / 10)

@app.get("/error")
def error(request):
    raise RuntimeError("the secret of the traceback")

@app.on_startup
def started():
    print("startup", flush=True)

@app.on_shutdown
def stopped():
    print("shutdown", flush=True)

"""
PRODUCTION = APP + 'app.run(port=0, env="production")\n'
DEVELOPMENT = APP + "app.run(port=0)\n"
STOPPING = "stopping: what runs has 30 s to finish; once more ends at once"


@contextmanager
def asking(server: Process, target: str, said: str) -> Iterator[RawClient]:
    """Have one request in flight: its handler has spoken."""
    with connected(server.port) as client:
        client.send(request(target))
        server.stdout.wait_for(said)
        yield client
