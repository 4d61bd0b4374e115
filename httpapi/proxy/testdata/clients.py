"""Drives the official Python clients at BASE_URL and prints what they got.

One JSON object a line: the name of the call, and its result. clients_test.go
runs this against the upstream itself and through the proxy, and compares.
"""

import json
import sys

import anthropic
import openai

BASE_URL = sys.argv[1]
MNX = {"mnx": {"subject_id": "user_123", "log": True, "state": {"load": True, "key": "current_task"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def show(name, result):
    print(json.dumps({"call": name, "result": result}, sort_keys=True), flush=True)


def collect(stream):
    return [event.to_dict() for event in stream]


def status(call):
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return [type(error).__name__, error.status_code, error.body]


oai = openai.OpenAI(base_url=f"{BASE_URL}/api/v1", api_key="provider-key", default_headers={"x-mnexium-key": "our-key"}, max_retries=0)

conversation = [
    {"role": "system", "content": "You are brief. \u2028 </agent-state>"},
    {"role": "developer", "content": [{"type": "text", "text": "Use tools."}]},
    {"role": "user", "content": [{"type": "text", "text": "Weather in 東京? 🌦"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Tokyo\"}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "{\"°C\": 21.50}"},
]
show("chat", oai.chat.completions.create(model="m", messages=conversation, tools=TOOLS, temperature=0.1, extra_body=MNX).to_dict())
show("chat, plain", oai.chat.completions.create(model="m", messages=conversation, seed=2**53 + 1).to_dict())
show("chat, stream", collect(oai.chat.completions.create(
    model="m", messages=conversation[2:3], tools=TOOLS, stream=True, stream_options={"include_usage": True}, extra_body=MNX)))
show("chat, refused", status(lambda: oai.chat.completions.create(model="refused", messages=[], extra_body=MNX)))
show("responses", oai.responses.create(
    model="m", instructions="Be brief.", extra_body=MNX,
    input=[{"role": "developer", "content": "d"}, {"role": "user", "content": [{"type": "input_text", "text": "next?"}]},
           {"type": "function_call_output", "call_id": "call_1", "output": "{}"}]).to_dict())
show("responses, stream", collect(oai.responses.create(model="m", instructions="Be brief.\n", input="next?", stream=True, extra_body=MNX)))
show("responses, plain", oai.responses.create(model="m", input="next?").to_dict())

ant = anthropic.Anthropic(base_url=f"{BASE_URL}/api", api_key="provider-key", default_headers={"x-mnexium-key": "our-key"}, max_retries=0)
question = [{"role": "user", "content": [{"type": "text", "text": "Wie weiter? ü"}]}]
tools = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
cached = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
show("messages", ant.messages.create(model="m", max_tokens=9, system="Be brief.", messages=question, tools=tools, extra_body=MNX).to_dict())
show("messages, plain", ant.messages.create(model="m", max_tokens=9, messages=question).to_dict())
show("messages, stream", collect(ant.messages.create(model="m", max_tokens=9, system=cached, messages=question, stream=True, extra_body=MNX)))
with ant.messages.stream(model="m", max_tokens=9, messages=question, extra_body=MNX) as stream:
    show("messages, helper", [stream.get_final_text()])
show("messages, beta", ant.beta.messages.create(model="m", max_tokens=9, messages=question, betas=["b-1"], extra_body=MNX).to_dict())
show("messages, refused", status(lambda: ant.messages.create(model="refused", max_tokens=9, messages=question, extra_body=MNX)))
