"""A conversation that goes on where it stopped, on whatever machine.

    python conversation.py NAME [ENDPOINT …]

Each line that you type is answered and kept. Kill it, start it again, and it
knows what was said. The answers are a stand-in's: give the session to a Runner of
the OpenAI Agents SDK in its place. Run it next to `make run`.
"""

import asyncio
import sys
from typing import Any

from stateraft import AsyncClient
from stateraft.openai_agents import StateraftSession

ENDPOINTS = [f"http://127.0.0.1:{port}" for port in (7474, 7475, 7476)]


def answer(items: list[Any]) -> str:
    said = [item["content"] for item in items if item["role"] == "user"]
    return f"You have said {len(said)} things. The first was: {said[0]}"


async def main(name: str, endpoints: list[str]) -> None:
    async with AsyncClient(endpoints=endpoints) as client:
        session = StateraftSession(name, client)
        before: list[Any] = await session.get_items()
        for item in before:
            print(f"{item['role']}: {item['content']}")
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            await session.add_items([{"role": "user", "content": line}])
            reply = answer(await session.get_items())
            await session.add_items([{"role": "assistant", "content": reply}])
            print(f"assistant: {reply}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2:] or ENDPOINTS))
