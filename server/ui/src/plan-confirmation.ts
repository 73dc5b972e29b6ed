// Connects a plan to the confirmation form and to the tool that commits it.

import { renderConfirmationForm } from "./confirmation-form.js";
import { createElement } from "./elements.js";
import { toText, toTimestamp, type JsonObject } from "./json.js";
import type { ServerClient } from "./server-client.js";
import type { ToolResult } from "./tool-result.js";

/** The tool call that created a plan. */
export interface PlanRequest {
  tool: string;
  args: JsonObject;
}

export interface PlanContext {
  server: ServerClient;
  onCommitted: (result: ToolResult, request: PlanRequest) => void;
  onCancel: () => void;
}

/** The arguments of the plan request that `commit_from_panel` needs as well, by tool. */
const COMMIT_ARGUMENTS: Record<string, string[]> = {
  delete_snapshot: ["snapshot_id"],
  restore_snapshot: ["snapshot_id", "new_vm_name", "contract_id", "rehearsal"],
  apply_retention: [],
};

/** Renders the confirmation form for the plan in `result`; `request.tool` is the tool that commits the plan. */
export function renderPlanConfirmation(
  request: PlanRequest,
  result: ToolResult,
  buttonLabel: string,
  context: PlanContext,
): HTMLElement {
  const { content, nonce } = result;
  if (!nonce) {
    return createElement(
      "p",
      { class: "card" },
      "This client does not allow the panel to carry out plans. Confirm where the assistant asks you to.",
    );
  }
  const { tool } = request;
  const names = COMMIT_ARGUMENTS[tool] ?? [];
  const args = Object.fromEntries(names.filter((name) => name in request.args).map((name) => [name, request.args[name]]));
  const planToken = toText(content.plan_token);
  return renderConfirmationForm({
    expectedText: toText(content.confirm_with),
    buttonLabel,
    expiresAt: toTimestamp(content.expires_at),
    commit: (typedText) =>
      context.server.callTool("commit_from_panel", { ...args, tool, plan_token: planToken, nonce, words: typedText }),
    onCommitted: (commitResult) => context.onCommitted(commitResult, { tool, args }),
    onCancel: context.onCancel,
  });
}
