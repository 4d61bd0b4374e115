"""Two agents share a workflow: one plans, both take tasks, and none is done twice.

Run it next to `make run`, or with the base URLs of a cluster as arguments.
"""

import sys
import threading

from stateraft import Client, Event, SetOp, VersionConflictError

ENDPOINTS = [f"http://127.0.0.1:{port}" for port in (7474, 7475, 7476)]
TASKS = ["research", "book_flights", "book_hotels", "pack"]


def plan(client: Client, workflow: str) -> None:
    """Write the tasks down, all at once."""
    client.state.atomic(workflow, [SetOp(f"task:{name}", {"state": "open"}, ttl=3600) for name in TASKS])


def work(name: str, endpoints: list[str], workflow: str) -> None:
    """Take one open task after the other, until there are none."""
    with Client(endpoints=endpoints) as client:
        for entry in client.state.list(workflow, prefix="task:", values=True).entries or []:
            if entry.value["state"] != "open":
                continue
            try:
                taken = client.state.set_with_version(workflow, entry.key, {"state": name}, entry.version)
            except VersionConflictError:
                continue  # the other one was faster
            client.state.set_with_version(workflow, entry.key, {"state": "done", "by": name}, taken)


def main(endpoints: list[str]) -> None:
    workflow = "trip-to-tokyo"
    done: dict[str, str] = {}
    all_done = threading.Event()

    def watch(event: Event) -> None:
        if event.type == "set" and event.new_value["state"] == "done":
            print(f"{event.key} was done by {event.new_value['by']}")
            done[event.key or ""] = event.new_value["by"]
            if len(done) == len(TASKS):
                all_done.set()

    with Client(endpoints=endpoints) as client, client.state.subscribe_workflow(workflow, watch, prefix="task:"):
        plan(client, workflow)
        agents = [
            threading.Thread(target=work, args=("ada", endpoints, workflow)),
            threading.Thread(target=work, args=("grace", endpoints[::-1], workflow)),
        ]
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.join()
        all_done.wait(10)
    print(f"{len(done)} of {len(TASKS)} tasks are done")


if __name__ == "__main__":
    main(sys.argv[1:] or ENDPOINTS)
