// An assistant on the official TypeScript client: plans a deletion and commits it.
//
//   node client.mjs '{"command": ["python", "-m", "snapshot_mcp"], "protocol": "2025-11-25",
//                     "snapshot": "a name", "answer": {"action": "decline"}}'
//
// `answer` is the person's answer: an ElicitResult, or {"throws": "reason"} for a client whose dialog
// breaks. With null, the client does not declare that it can ask a person.
// The report is one line of JSON on stdout.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const LEGACY = "2025-11-25";

const { command, protocol, snapshot, answer } = JSON.parse(process.argv[2]);

const client = new Client(
  { name: "typescript-test", version: "1" },
  {
    capabilities: answer === null ? {} : { elicitation: { form: {} } },
    versionNegotiation: { mode: protocol === LEGACY ? "legacy" : { pin: protocol } },
  },
);

const questions = [];
if (answer !== null) {
  client.setRequestHandler("elicitation/create", ({ params }) => {
    questions.push(params);
    if (answer.throws) throw new Error(answer.throws);
    return answer;
  });
}

async function call(name, args) {
  try {
    const result = await client.callTool({ name, arguments: args });
    return {
      isError: result.isError ?? false,
      text: result.content.map((part) => part.text).join("\n"),
      structuredContent: result.structuredContent ?? null,
    };
  } catch (error) {
    return { thrown: error.message };
  }
}

await client.connect(
  new StdioClientTransport({ command: command[0], args: command.slice(1), env: process.env }),
);
try {
  await client.listTools(); // makes the client check results against their schemas
  const found = await call("list_snapshots", { search: snapshot });
  const target = { snapshot_id: found.structuredContent.snapshots[0].id };
  const plan = await call("delete_snapshot", target);
  const { plan_token, confirm_with } = plan.structuredContent;
  const commit = await call("delete_snapshot", { ...target, plan_token, confirm: confirm_with });
  const after = await call("inspect_snapshot", target);
  const negotiated = client.getNegotiatedProtocolVersion();
  console.log(JSON.stringify({ protocol: negotiated, plan, questions, commit, after }));
} finally {
  await client.close();
}
