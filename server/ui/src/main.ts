// Entry point: connects the panel to the client that hosts it.

import { App } from "@modelcontextprotocol/ext-apps";
import { Panel } from "./panel.js";
import { ServerClient } from "./server-client.js";

const app = new App({ name: "snapshots-panel", version: "1.0.0" }, {}, { autoResize: true });
const panel = new Panel(new ServerClient(app));
app.ontoolinput = (params) => panel.handleToolInput(params.arguments);
app.ontoolresult = (params) => panel.handleToolResult(params);
app.ontoolcancelled = () => panel.handleCancellation();
app.onhostcontextchanged = (context) => panel.applyHostContext(context);
app.onteardown = () => {
  panel.close();
  return {};
};
void app.connect().then(() => panel.applyHostContext(app.getHostContext()));
