// Parses the results of tool calls.

import { toObject, toText, type JsonObject } from "./json.js";

/** The `_meta` key that holds data for the panel only. The client does not pass `_meta` to the model. */
const PANEL_META_KEY = "snapshot-mcp/panel";

export interface ToolResult {
  failed: boolean;
  text: string;
  content: JsonObject;
  /** Proves to the server that a commit comes from the panel; empty if the result has no plan. */
  nonce: string;
}

export function parseToolResult(value: unknown): ToolResult {
  const json = toObject(value);
  const blocks = Array.isArray(json.content) ? json.content.map(toObject) : [];
  return {
    failed: json.isError === true,
    text: blocks.map((block) => toText(block.text)).join("\n"),
    content: toObject(json.structuredContent),
    nonce: toText(toObject(toObject(json._meta)[PANEL_META_KEY]).nonce),
  };
}
