// The view of a retention plan. The confirmation form appears only after every snapshot to delete was shown.

import { createElement } from "./elements.js";
import { formatSize, formatTimestamp, formatVm } from "./formatting.js";
import { toNumber, toObjects, toText, toTexts, type JsonObject } from "./json.js";
import { renderPlanConfirmation, type PlanContext, type PlanRequest } from "./plan-confirmation.js";
import { parseSnapshot } from "./snapshot.js";
import type { ToolResult } from "./tool-result.js";

const PAGE_SIZE = 100;

/** The columns of the table, with their CSS classes. */
const COLUMNS = [
  { title: "Action", className: "nowrap" },
  { title: "Name", className: "" },
  { title: "VM", className: "" },
  { title: "Created", className: "nowrap" },
  { title: "Size", className: "number" },
  { title: "Reason", className: "" },
];

export function renderRetentionPlan(request: PlanRequest, result: ToolResult, context: PlanContext): HTMLElement {
  const { content } = result;
  const deleteCount = toNumber(content.delete_count) ?? 0;
  const body = createElement("tbody");
  const confirmation = createElement("div");
  const moreButton = createElement("button", { type: "button", onclick: () => void loadNextPage() });
  let cursor = toText(content.next_cursor);
  let shownCount = 0;

  const showPage = (page: JsonObject): void => {
    const decisions = toObjects(page.decisions);
    body.append(...decisions.map(renderDecision));
    shownCount += decisions.length;
    // The server lists the snapshots to delete before those to keep.
    const allDeletionsShown = shownCount >= deleteCount;
    moreButton.textContent = allDeletionsShown
      ? "Show more"
      : `Show more snapshots to delete (${deleteCount - shownCount} left)`;
    moreButton.hidden = !cursor;
    if (deleteCount && allDeletionsShown && !confirmation.hasChildNodes()) {
      const label = `Delete ${deleteCount} snapshot${deleteCount === 1 ? "" : "s"} permanently`;
      const commitRequest = { tool: "apply_retention", args: request.args };
      confirmation.append(renderPlanConfirmation(commitRequest, result, label, context));
    }
  };

  const loadNextPage = async (): Promise<void> => {
    moreButton.disabled = true;
    const page = await context.server.callTool("plan_retention", { ...request.args, limit: PAGE_SIZE, cursor });
    moreButton.disabled = false;
    if (page.failed) {
      confirmation.replaceChildren(createElement("p", { class: "error", role: "alert" }, page.text));
      moreButton.hidden = true;
      return;
    }
    cursor = toText(page.content.next_cursor);
    showPage(page.content);
  };

  showPage(content);
  return createElement(
    "section",
    { "aria-labelledby": "plan-heading" },
    createElement(
      "h2",
      { id: "plan-heading", tabindex: -1 },
      `Retention: ${deleteCount} to delete, ${toNumber(content.keep_count) ?? "?"} to keep`,
    ),
    createElement("p", {}, describeSavings(content)),
    createElement("div", { class: "scroll" }, createElement("table", {}, renderTableHead(), body)),
    moreButton,
    deleteCount ? confirmation : createElement("p", {}, toText(content.next_step)),
    !deleteCount && createElement("button", { type: "button", onclick: context.onCancel }, "Back"),
  );
}

function describeSavings(content: JsonObject): string {
  const monthlySavings = (toNumber(content.saved_per_month_estimate) ?? 0).toFixed(2);
  return `Frees ${toNumber(content.reclaimed_gb) ?? "?"} GB and saves about ${monthlySavings} ${toText(content.currency)} per month (estimate).`;
}

function renderTableHead(): HTMLElement {
  const cells = COLUMNS.map(({ title, className }) => createElement("th", { scope: "col", class: className }, title));
  return createElement("thead", {}, createElement("tr", {}, ...cells));
}

function renderDecision(decision: JsonObject): HTMLElement {
  const snapshot = parseSnapshot(decision);
  const values = [
    decision.keep === true ? "keep" : "delete",
    `${snapshot.name} (${snapshot.id})`,
    formatVm(snapshot),
    formatTimestamp(snapshot.createdAt),
    formatSize(snapshot.size),
    toTexts(decision.reasons).join("; "),
  ];
  return createElement(
    "tr",
    {},
    ...COLUMNS.map(({ className }, index) => createElement("td", { class: className }, values[index])),
  );
}
