"""Stands in for a language model, for trying docs/agent-state.md without a
provider's key: answers Chat Completions with what it was told of the agent's
state. Takes the port to listen on, 8484 by default."""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def reply(messages: list) -> str:
    for message in messages:
        if message["role"] == "system" and "<agent-state>\n" in message["content"]:
            block = message["content"].split("<agent-state>\n")[1].split("\n")[0]
            state = json.loads(block)["value"]
            return f"Done so far: {', '.join(state['steps_completed'])}. Next: {state['next_step']}."
    return "I know of no task."


class StandIn(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": reply(request["messages"])}
        body = json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int((sys.argv + ["8484"])[1])), StandIn)
print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
server.serve_forever()
