// The host's side of the panel, for tests: it connects to the server, calls tools as a model would,
// shows the panel in a sandboxed frame, and passes on what the panel asks for.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { AppBridge, PostMessageTransport, getToolUiResourceUri, isToolVisibilityAppOnly } from "@modelcontextprotocol/ext-apps/app-bridge";

const EXTENSION = "io.modelcontextprotocol/ui";
const capabilities = { extensions: { [EXTENSION]: { mimeTypes: ["text/html;profile=mcp-app"] } } };

let client, tools, bridge;
const heard = { context: [], messages: [], calls: [] };

async function connect() {
  client = new Client({ name: "panel-host", version: "1" }, { capabilities });
  await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", location.href)));
  tools = (await client.listTools()).tools;
  return { model: tools.filter((it) => !isToolVisibilityAppOnly(it)).map((it) => it.name), all: tools.map((it) => it.name) };
}

async function openPanel(tool, context, through = client, answer = undefined) {
  const uri = getToolUiResourceUri(tool);
  const { contents } = await client.readResource({ uri });
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.title = "Panel";
  document.body.replaceChildren(frame);
  const host = { serverTools: {}, updateModelContext: { text: {} }, logging: {} };
  bridge = new AppBridge(through, { name: "panel-host", version: "1" }, host, { hostContext: { toolInfo: { tool }, ...context } });
  if (answer) bridge.oncalltool = answer;
  bridge.onupdatemodelcontext = async (params) => {
    heard.context.push(params);
    return {};
  };
  bridge.onsizechange = ({ height }) => {
    if (height) frame.style.height = `${height}px`;
  };
  const ready = new Promise((resolve) => {
    bridge.oninitialized = resolve;
  });
  // The frame must be there before the bridge listens to it, and its script runs after.
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.srcdoc = contents[0].text;
  await ready;
  return contents[0];
}

/** Calls a tool as the model does, and shows the panel for it; what the model reads of it. */
async function call(name, args, context = {}) {
  const tool = tools.find((it) => it.name === name);
  const page = await openPanel(tool, context);
  await bridge.sendToolInput({ arguments: args });
  const result = await client.callTool({ name, arguments: args });
  await bridge.sendToolResult(result);
  const { _meta, ...read } = result;
  return { read, csp: page._meta?.ui?.csp };
}

/** A call of the model alone, without a panel. */
async function callAsModel(name, args) {
  const { _meta, ...read } = await client.callTool({ name, arguments: args });
  return read;
}

/** Opens the panel before a server that answers everything with `result`, to see it drawn. */
async function show(name, result, context = {}) {
  await openPanel(tools.find((it) => it.name === name), context, null, async () => result);
  await bridge.sendToolInput({ arguments: {} });
  await bridge.sendToolResult(result);
}

const theme = (value) => bridge.setHostContext({ theme: value });

window.host = { connect, call, callAsModel, show, theme, heard };
