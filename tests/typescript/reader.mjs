// A reader on the official TypeScript client: renders every prompt, reads every resource and one of
// each template, and completes every argument.
//
//   node reader.mjs '{"command": ["python", "-m", "snapshot_mcp"], "protocol": "2025-11-25"}'
//
// The report is one line of JSON on stdout.

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
  const values = Object.fromEntries(known.map((argument) => [argument.name, completed[argument.name][0] ?? "x"]));
  const { messages } = await client.getPrompt({ name, arguments: values });
  return { name, completed, text: messages.map(({ content }) => content.text).join("\n") };
}

async function read(uri) {
  const { contents } = await client.readResource({ uri });
  return { uri, contents: contents.map((part) => (part.mimeType === "application/json" ? JSON.parse(part.text) : part)) };
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
  let readError = null;
  await client.readResource({ uri: "snapshot://0" }).catch((error) => (readError = error.message));
  const negotiated = client.getNegotiatedProtocolVersion();
  console.log(JSON.stringify({ protocol: negotiated, prompts, resources, readError }));
} finally {
  await client.close();
}
