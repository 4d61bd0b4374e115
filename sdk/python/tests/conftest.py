"""A cluster of three nodes, of the tree's own server."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stateraft import Client, StateraftError

ROOT = Path(__file__).parents[3]
START = 60  # seconds that a cluster may take to begin, on a busy machine


class Cluster:
    """Three nodes that ``stateraft dev`` runs."""

    def __init__(self, binary: Path, folder: Path) -> None:
        port = _free_ports()
        self.endpoints = [f"http://127.0.0.1:{port + n}" for n in range(3)]
        self._log = (folder / "dev.log").open("w")
        self._dev = subprocess.Popen(
            [binary, "dev", "--port", str(port), "--data-dir", folder / "data"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self) -> Cluster:
        for endpoint in self.endpoints:
            self.wait_for(endpoint)
        return self

    def wait_for(self, endpoint: str) -> None:
        end = time.monotonic() + START
        with Client(endpoint, timeout=2, max_attempts=1) as client:
            while True:
                try:
                    return client.ready()
                except StateraftError:
                    assert time.monotonic() < end, f"{endpoint} is not ready: see {self._log.name}"
                    time.sleep(0.1)

    def kill(self, endpoint: str) -> None:
        """End the process of a node by SIGKILL."""
        os.kill(self._pid(endpoint.rpartition(":")[2]), signal.SIGKILL)

    def _pid(self, port: str) -> int:
        """Return the process whose flags name the port."""
        children = Path(f"/proc/{self._dev.pid}/task/{self._dev.pid}/children")
        for pid in _descendants(self._dev.pid):
            flags = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if any(flag.endswith(f":{port}") for flag in flags):
                return pid
        raise AssertionError(f"no node at {port} among {children}")

    def stop(self) -> None:
        self._dev.send_signal(signal.SIGINT)
        try:
            self._dev.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._dev.pid, signal.SIGKILL)
            self._dev.wait()
        self._log.close()


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _free_ports() -> int:
    """Return the first of three ports that are free, as are those 100 and 200 above."""
    while True:
        port = random.randrange(20000, 30000)
        sockets = []
        try:
            for n in range(3):
                sockets += [socket.create_server(("127.0.0.1", port + n + above)) for above in (0, 100, 200)]
            return port
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the server, of the tree unless STATERAFT_BINARY names one that was built before."""
    if given := os.environ.get("STATERAFT_BINARY"):
        return Path(given)
    built = tmp_path_factory.mktemp("bin") / "stateraft"
    subprocess.run(["go", "build", "-o", built, "./cmd/stateraft"], cwd=ROOT, check=True)
    return built


@pytest.fixture(scope="session")
def cluster(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that tests share, each with names of its own."""
    running = Cluster(binary, tmp_path_factory.mktemp("cluster"))
    try:
        yield running.wait()
    finally:
        running.stop()


@pytest.fixture
def mortal_cluster(binary: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of a test's own, whose nodes it may kill."""
    running = Cluster(binary, tmp_path)
    try:
        yield running.wait()
    finally:
        running.stop()
