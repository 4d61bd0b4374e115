"""The README's blocks, run as they are printed, and the examples."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stateraft import _wire

from .conftest import Cluster

FOLDER = Path(__file__).parents[1]


class Model(BaseHTTPRequestHandler):
    """Stands in for the language model of the Responses API."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        text = {"type": "output_text", "text": "Zoë", "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
        body = json.dumps(
            {"id": "r", "object": "response", "created_at": 0, "model": "m", "output": [message]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.shutdown()
    server.server_close()


def sections() -> list[tuple[str, str]]:
    """Return the Python of each section with its heading."""
    found = []
    for section in (FOLDER / "README.md").read_text().split("\n## ")[1:]:
        blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        if blocks:
            found.append((section.partition("\n")[0], "\n".join(blocks)))
    return found


@pytest.mark.usefixtures("model")
@pytest.mark.filterwarnings("default")  # of other packages
@pytest.mark.parametrize(("heading", "code"), sections(), ids=[heading for heading, _ in sections()])
def test_section(
    heading: str, code: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_wire, "DEFAULT_ENDPOINT", cluster.endpoints[0])
    exec(compile(code, f"README.md: {heading}", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*\)  # (.*)", code)


def test_there_are_as_many_sections_as_are_to_be_run() -> None:
    assert [heading for heading, _ in sections()] == ["Quick start", "With asyncio", "LangGraph", "OpenAI Agents SDK"]


def run(script: str, *arguments: str, said: str = "") -> list[str]:
    command = [sys.executable, str(FOLDER / script), *arguments]
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_two_agents(cluster: Cluster) -> None:
    said = run("examples/two_agents.py", *cluster.endpoints)
    assert said[-1] == "4 of 4 tasks are done"
    assert len([line for line in said if re.fullmatch(r"task:\w+ was done by (ada|grace)", line)]) == 4


def test_a_conversation_goes_on(cluster: Cluster) -> None:
    name = str(uuid.uuid4())
    command = [sys.executable, str(FOLDER / "examples/conversation.py"), name, *cluster.endpoints]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin
        assert first.stdout
        first.stdin.write("hello\n")
        first.stdin.flush()
        assert first.stdout.readline() == "assistant: You have said 1 things. The first was: hello\n"
        first.kill()
    assert run("examples/conversation.py", name, *cluster.endpoints[::-1], said="goodbye\n") == [
        "user: hello",
        "assistant: You have said 1 things. The first was: hello",
        "assistant: You have said 2 things. The first was: hello",
    ]


def test_latency(cluster: Cluster) -> None:
    said = run("bench/latency.py", "--writes", "20", *cluster.endpoints[:2])
    assert [line.split()[0] for line in said[1:]] == ["plain", "Client", "AsyncClient"]
