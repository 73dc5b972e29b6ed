// Plans as the person sees them before they agree: one snapshot, or a batch by policy.

import { consentForm, type Agreement } from "./consent.js";
import { element, factList, type Child } from "./dom.js";
import { asJson, asList, asNumber, asText, asTexts, asTime, gigabytes, moment, readSnapshot, stateTitle, vmTitle, type Json } from "./reading.js";
import type { Answer, Server } from "./server.js";

const MOST_LISTED = 100;

/** The call that made a plan: what its commit needs, beside the plan itself. */
export interface Origin {
  tool: string;
  args: Json;
}

export interface Around {
  server: Server;
  done: (answer: Answer, origin: Origin) => void;
  leave: () => void;
}

const COMMITTED: Record<string, string[]> = {
  delete_snapshot: ["snapshot_id"],
  restore_snapshot: ["snapshot_id", "new_vm_name", "contract_id", "rehearsal"],
  apply_retention: [],
};

function agreement(tool: string, origin: Origin, answer: Answer, button: string, around: Around): Agreement {
  const { content, nonce } = answer;
  const own = Object.fromEntries((COMMITTED[tool] ?? []).flatMap((it) => (it in origin.args ? [[it, origin.args[it]]] : [])));
  return {
    words: asText(content.confirm_with),
    button,
    ends: `at ${moment(asTime(content.expires_at))}`,
    commit: (words) =>
      around.server.call("commit_from_panel", { ...own, tool, plan_token: asText(content.plan_token), nonce, words }),
    done: (committed) => around.done(committed, { tool, args: own }),
    leave: around.leave,
  };
}

function consent(it: Agreement, nonce: string): HTMLElement {
  return nonce
    ? consentForm(it)
    : element("p", { class: "card" }, "This client does not let the panel carry out plans. Agree where the assistant asks you.");
}

/** The plan of a deletion or a restore. */
export function onePlan(origin: Origin, answer: Answer, around: Around): HTMLElement {
  const plan = asJson(answer.content.plan);
  const snapshot = readSnapshot({ ...plan, id: plan.snapshot_id });
  const deletes = origin.tool === "delete_snapshot";
  const args = { ...planned(plan), ...origin.args };
  const button = deletes ? "Delete for good" : "Make the VM";
  const facts: [string, Child][] = [
    ["Snapshot", `${snapshot.name} (${snapshot.id}), ${stateTitle(snapshot)}`],
    ["VM", vmTitle(snapshot)],
    ["Size", gigabytes(snapshot.size)],
    ["Taken", moment(snapshot.taken)],
    ...(deletes ? left(plan) : made(plan)),
  ];
  return element(
    "section",
    { "aria-labelledby": "plan" },
    element("h2", { id: "plan", tabindex: -1 }, asText(plan.action)),
    ...asTexts(plan.warnings).map((it) => element("p", { class: "warning" }, it)),
    factList(facts),
    consent(agreement(origin.tool, { ...origin, args }, answer, button, around), answer.nonce),
  );
}

const planned = (plan: Json): Json => ({
  snapshot_id: plan.snapshot_id,
  ...(asText(plan.new_vm_name) ? { new_vm_name: plan.new_vm_name } : {}),
});

function left(plan: Json): [string, Child][] {
  const image = asText(plan.derived_image);
  return [
    ["Left of its VM", `${asNumber(plan.older_of_vm) ?? "?"} older, ${asNumber(plan.newer_of_vm) ?? "?"} newer ready ones`],
    ["Goes with it", image ? `image ${image}` : "nothing else"],
  ];
}

function made(plan: Json): [string, Child][] {
  const price = asNumber(plan.price_per_hour_estimate);
  return [
    ["New VM", asText(plan.new_vm_name)],
    ["Flavor", [asText(plan.flavor) || "?", asText(plan.gpus), asText(plan.region)].filter(Boolean).join(", ")],
    ["Price", price === null ? "not known" : `about ${price} per hour (an estimate)`],
  ];
}

/** The plan of a tidy-up: every snapshot that goes must have been shown before one can agree. */
export function batchPlan(origin: Origin, answer: Answer, around: Around): HTMLElement {
  const { content } = answer;
  const goes = asNumber(content.delete_count) ?? 0;
  const body = element("tbody");
  const place = element("div");
  const more = element("button", { type: "button", onclick: () => void load() });
  let cursor = asText(content.next_cursor);
  let seen = 0;
  const show = (page: Json): void => {
    const decisions = asList(page.decisions);
    body.append(...decisions.map(decisionLine));
    seen += decisions.length;
    more.textContent = seen < goes ? `Show more of what goes (${goes - seen} left)` : "Show more";
    more.hidden = !cursor;
    if (goes && seen >= goes && !place.hasChildNodes()) {
      const words = `Delete ${goes} snapshot${goes === 1 ? "" : "s"} for good`;
      const it = agreement("apply_retention", origin, answer, words, around);
      place.append(consent(it, answer.nonce));
    }
  };
  const load = async (): Promise<void> => {
    more.disabled = true;
    const next = await around.server.call("plan_retention", { ...origin.args, limit: MOST_LISTED, cursor });
    more.disabled = false;
    if (next.failed) {
      place.replaceChildren(element("p", { class: "refused", role: "alert" }, next.text));
      more.hidden = true;
      return;
    }
    cursor = asText(next.content.next_cursor);
    show(next.content);
  };
  show(content);
  return element(
    "section",
    { "aria-labelledby": "plan" },
    element("h2", { id: "plan", tabindex: -1 }, `Tidy up: ${goes} go, ${asNumber(content.keep_count) ?? "?"} stay`),
    element("p", {}, `Frees ${asNumber(content.reclaimed_gb) ?? "?"} GB, about ${(asNumber(content.saved_per_month_estimate) ?? 0).toFixed(2)} a month (an estimate).`),
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, headLine()), body)),
    more,
    goes ? place : element("p", {}, asText(content.next_step)),
    !goes && element("button", { type: "button", onclick: around.leave }, "Back"),
  );
}

const look = (column: number): string => ["short", "", "", "short", "number", ""][column] ?? "";

const headLine = (): HTMLElement =>
  element("tr", {}, ...["What", "Name", "VM", "Taken", "Size", "Why"].map((it, column) => element("th", { scope: "col", class: look(column) }, it)));

function decisionLine(decision: Json): HTMLElement {
  const it = readSnapshot(decision);
  const cells = [decision.keep === true ? "stays" : "goes", `${it.name} (${it.id})`, vmTitle(it), moment(it.taken), gigabytes(it.size), asTexts(decision.reasons).join("; ")];
  return element("tr", {}, ...cells.map((cell, column) => element("td", { class: look(column) }, cell)));
}
