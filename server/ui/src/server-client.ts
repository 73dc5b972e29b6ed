// Calls the MCP server through the client that hosts the panel.

import type { App } from "@modelcontextprotocol/ext-apps";
import type { JsonObject } from "./json.js";
import { parseToolResult, type ToolResult } from "./tool-result.js";

const CALL_TIMEOUT_MS = 300_000;

export class ServerClient {
  constructor(private readonly app: App) {}

  /** Calls a tool. A call that the client rejects, or that times out, also returns a failed result. */
  async callTool(tool: string, args: JsonObject): Promise<ToolResult> {
    try {
      const params = { name: tool, arguments: args };
      return parseToolResult(await this.app.callServerTool(params, { timeout: CALL_TIMEOUT_MS }));
    } catch {
      return {
        failed: true,
        text: "The client did not forward the request, or the server did not reply. Check the list before you try again.",
        content: {},
        nonce: "",
      };
    }
  }

  /** Adds a text to the model's context, if the client supports it. */
  async updateModelContext(text: string): Promise<void> {
    try {
      await this.app.updateModelContext({ content: [{ type: "text", text }] });
    } catch {
      // Optional for clients. The user sees the same text in the panel.
    }
  }
}
