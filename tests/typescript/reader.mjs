// A person who looks around with the official TypeScript client: renders every prompt, reads every
// resource and what two templates lead to, and completes every argument.
//
//   node reader.mjs '{"command": ["python", "-m", "snapshot_mcp"], "protocol": "2025-11-25"}'
//
// What was seen comes as one line of JSON on stdout.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const LEGACY = "2025-11-25";

const { command, protocol } = JSON.parse(process.argv[2]);

const client = new Client(
  { name: "typescript-test", version: "1" },
  { versionNegotiation: { mode: protocol === LEGACY ? "legacy" : { pin: protocol } } },
);

async function complete(ref, name) {
  return (await client.complete({ ref, argument: { name, value: "" } })).completion.values;
}

async function render({ name, arguments: known = [] }) {
  const completed = {};
  for (const argument of known) {
    completed[argument.name] = await complete({ type: "ref/prompt", name }, argument.name);
  }
  const given = Object.fromEntries(known.map((it) => [it.name, completed[it.name][0] ?? "x"]));
  const { messages } = await client.getPrompt({ name, arguments: given });
  return { name, completed, text: messages.map(({ content }) => content.text).join("\n") };
}

async function read(uri) {
  const { contents } = await client.readResource({ uri });
  return { uri, contents: contents.map((it) => (it.mimeType === "application/json" ? JSON.parse(it.text) : it)) };
}

await client.connect(
  new StdioClientTransport({ command: command[0], args: command.slice(1), env: process.env }),
);
try {
  const prompts = [];
  for (const prompt of (await client.listPrompts()).prompts) prompts.push(await render(prompt));
  const resources = [];
  for (const { uri } of (await client.listResources()).resources) resources.push(await read(uri));
  for (const { uriTemplate } of (await client.listResourceTemplates()).resourceTemplates) {
    const [id] = await complete({ type: "ref/resource", uri: uriTemplate }, "id");
    resources.push(await read(uriTemplate.replace("{id}", id)));
  }
  let unread = null;
  await client.readResource({ uri: "snapshot://0" }).catch((error) => (unread = error.message));
  const negotiated = client.getNegotiatedProtocolVersion();
  console.log(JSON.stringify({ protocol: negotiated, prompts, resources, unread }));
} finally {
  await client.close();
}
