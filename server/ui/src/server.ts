// The calls that the panel makes by itself, through the client that shows it.

import type { App } from "@modelcontextprotocol/ext-apps";
import { asJson, asText, type Json } from "./reading.js";

/** The key of a result's `_meta` that holds what the model is not told. */
const FOR_THE_PANEL = "snapshot-mcp/panel";
const LONGEST_CALL_MILLISECONDS = 300_000;

/** What came of a call: what is shown of it, and what only the panel knows. */
export interface Answer {
  failed: boolean;
  text: string;
  content: Json;
  nonce: string;
}

export function readAnswer(result: unknown): Answer {
  const json = asJson(result);
  const parts = Array.isArray(json.content) ? json.content.map(asJson) : [];
  return {
    failed: json.isError === true,
    text: parts.map((part) => asText(part.text)).join("\n"),
    content: asJson(json.structuredContent),
    nonce: asText(asJson(asJson(json._meta)[FOR_THE_PANEL]).nonce),
  };
}

export class Server {
  constructor(private readonly app: App) {}

  /** Calls a tool; a call that fails on its way is an answer too, and says so. */
  async call(tool: string, args: Json): Promise<Answer> {
    try {
      const params = { name: tool, arguments: args };
      return readAnswer(await this.app.callServerTool(params, { timeout: LONGEST_CALL_MILLISECONDS }));
    } catch {
      return {
        failed: true,
        text: "The client did not pass this on, or no answer came. Look at the list before you try again.",
        content: {},
        nonce: "",
      };
    }
  }

  /** Lets the model know what the person did here, where the client takes it. */
  async tellModel(text: string): Promise<void> {
    try {
      await this.app.updateModelContext({ content: [{ type: "text", text }] });
    } catch {
      // The person sees it here; a client that does not pass it on changes nothing.
    }
  }
}
