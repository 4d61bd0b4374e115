// Drives the official OpenAI client for Node at BASE_URL and prints what it
// got, as clients.py does for Python.
"use strict";

const path = require("node:path");
const { createRequire } = require("node:module");
const OpenAI = createRequire(path.join(process.env.STATERAFT_TEST_NODE_MODULES, "_"))("openai");

const mnx = { subject_id: "user_123", state: { load: true } };
const user = { role: "user", content: [{ type: "text", text: "Weather in 東京? 🌦" }] };
const messages = [{ role: "system", content: "You are brief." }, user];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];

const show = (call, result) => console.log(JSON.stringify({ call, result }));

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return [error.constructor.name, error.status, error.error];
  }
}

async function main() {
  const client = new OpenAI({
    baseURL: `${process.argv[2]}/api/v1`,
    apiKey: "our-key",
    defaultHeaders: { "x-openai-key": "provider-key" },
    maxRetries: 0,
  });
  const { chat, responses } = client;
  show("chat", await chat.completions.create({ model: "m", messages, tools, temperature: 0.1, mnx }));
  show("chat, plain", await chat.completions.create({ model: "m", messages }));
  show("chat, stream", await collect(await chat.completions.create({ model: "m", messages: [user], tools, stream: true, mnx })));
  show("chat, refused", await refusal(chat.completions.create({ model: "refused", messages, mnx })));
  show("responses", await responses.create({ model: "m", input: messages, mnx }));
  show("responses, stream", await collect(await responses.create({ model: "m", input: "next?", stream: true, mnx })));
}

main();
