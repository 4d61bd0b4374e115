"""Time from a write by one client to the callback in another, next to plain HTTP.

    python bench/latency.py [--writes N] ENDPOINT ENDPOINT

Writes go to the first endpoint one after the other, each once the one before has
been heard of; subscribers are at the second. The time begins before the write is
sent. Plain HTTP is http.client and a socket that is searched for what was written.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import queue
import socket
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from stateraft import AsyncClient, Client, Event

WARM_UP = 50

Heard = queue.SimpleQueue[tuple[int, float]]


def plain(writer: str, subscriber: str, writes: int) -> list[float]:
    workflow, heard = str(uuid.uuid4()), Heard()
    stream = socket.create_connection((urlsplit(subscriber).hostname, urlsplit(subscriber).port or 80))
    stream.sendall(f"GET /v1/state/{workflow}/k/stream HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    while b"id:" not in stream.recv(65536):
        pass

    def listen() -> None:
        while data := stream.recv(65536):
            now = time.perf_counter()
            if (at := data.find(b'"newValue":')) >= 0:
                heard.put((int(data[at + 11 : data.index(b",", at)]), now))

    threading.Thread(target=listen, daemon=True).start()
    connection = http.client.HTTPConnection(urlsplit(writer).netloc)

    def write(n: int) -> None:
        connection.request("POST", f"/v1/state/{workflow}/k", json.dumps({"value": n}))
        connection.getresponse().read()

    times = measure(write, heard, writes)
    stream.shutdown(socket.SHUT_RDWR)
    return times


def threads(writer: str, subscriber: str, writes: int) -> list[float]:
    workflow, heard = str(uuid.uuid4()), Heard()

    def hear(event: Event) -> None:
        heard.put((event.new_value, time.perf_counter()))

    with Client(writer) as w, Client(subscriber) as s, s.state.subscribe(workflow, "k", hear):
        return measure(lambda n: w.state.set(workflow, "k", n), heard, writes)


def measure(write: Callable[[int], object], heard: Heard, writes: int) -> list[float]:
    times = []
    for n in range(WARM_UP + writes):
        begin = time.perf_counter()
        write(n)
        value, end = heard.get(timeout=10)
        assert value == n
        times.append(end - begin)
    return times[WARM_UP:]


def tasks(writer: str, subscriber: str, writes: int) -> list[float]:
    return asyncio.run(_tasks(writer, subscriber, writes))


async def _tasks(writer: str, subscriber: str, writes: int) -> list[float]:
    workflow, times = str(uuid.uuid4()), []
    heard: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    async with (
        AsyncClient(writer) as w,
        AsyncClient(subscriber) as s,
        await s.state.subscribe(workflow, "k", lambda event: heard.put_nowait((event.new_value, time.perf_counter()))),
    ):
        for n in range(WARM_UP + writes):
            begin = time.perf_counter()
            await w.state.set(workflow, "k", n)
            value, end = await asyncio.wait_for(heard.get(), 10)
            assert value == n
            times.append(end - begin)
    return times[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=1000)
    parser.add_argument("endpoints", nargs="*", default=["http://127.0.0.1:7474", "http://127.0.0.1:7475"])
    args = parser.parse_args()
    print(f"{args.writes} writes, ms from before a write to the callback of another client:")
    for name, run in (("plain HTTP", plain), ("Client", threads), ("AsyncClient", tasks)):
        cuts = statistics.quantiles(run(args.endpoints[0], args.endpoints[-1], args.writes), n=100)
        print(f"  {name:12} p50 {cuts[49] * 1000:6.2f}   p99 {cuts[98] * 1000:6.2f}", flush=True)


if __name__ == "__main__":
    main()
