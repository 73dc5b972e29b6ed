// An MCP Apps host for tests. It connects to the server, calls tools as a model would, shows the panel in a sandboxed
// frame, and forwards the panel's requests to the server.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { AppBridge, PostMessageTransport, getToolUiResourceUri } from "@modelcontextprotocol/ext-apps/app-bridge";

const HOST_INFO = { name: "panel-host", version: "1" };
const HOST_CAPABILITIES = { serverTools: {}, updateModelContext: { text: {} }, logging: {} };
const CLIENT_CAPABILITIES = {
  extensions: { "io.modelcontextprotocol/ui": { mimeTypes: ["text/html;profile=mcp-app"] } },
};

let client, tools, bridge;
const modelContextUpdates = [];

async function connect() {
  client = new Client(HOST_INFO, { capabilities: CLIENT_CAPABILITIES });
  await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", location.href)));
  tools = (await client.listTools()).tools;
}

const findTool = (name) => tools.find((tool) => tool.name === name);

/** Shows the panel for a tool. `bridgeClient` forwards the panel's calls; without it, `onCallTool` answers them. */
async function openPanel(tool, context, bridgeClient, onCallTool) {
  const { contents } = await client.readResource({ uri: getToolUiResourceUri(tool) });
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.title = "Panel";
  document.body.replaceChildren(frame);
  const hostContext = { toolInfo: { tool }, ...context };
  bridge = new AppBridge(bridgeClient, HOST_INFO, HOST_CAPABILITIES, { hostContext });
  if (onCallTool) bridge.oncalltool = onCallTool;
  bridge.onupdatemodelcontext = async (params) => {
    modelContextUpdates.push(params);
    return {};
  };
  bridge.onsizechange = ({ height }) => {
    if (height) frame.style.height = `${height}px`;
  };
  const initialized = new Promise((resolve) => {
    bridge.oninitialized = resolve;
  });
  // The bridge needs the frame's window to connect, and must listen before the panel's script runs.
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.srcdoc = contents[0].text;
  await initialized;
}

/** Calls a tool as the model does, without a panel. Like the model, the caller does not receive `_meta`. */
async function callToolAsModel(name, args) {
  const { _meta, ...modelResult } = await client.callTool({ name, arguments: args });
  return modelResult;
}

/** Calls a tool as the model does and shows the panel for it. Returns the result without `_meta`, like the model's. */
async function callTool(name, args, context = {}) {
  await openPanel(findTool(name), context, client);
  await bridge.sendToolInput({ arguments: args });
  const result = await client.callTool({ name, arguments: args });
  await bridge.sendToolResult(result);
  const { _meta, ...modelResult } = result;
  return modelResult;
}

/** Shows the panel with a given result; every call of the panel returns the same result. */
async function showResult(name, result, context = {}) {
  await openPanel(findTool(name), context, null, async () => result);
  await bridge.sendToolInput({ arguments: {} });
  await bridge.sendToolResult(result);
}

const setTheme = (theme) => bridge.setHostContext({ theme });

window.host = { connect, callTool, callToolAsModel, showResult, setTheme, modelContextUpdates };
