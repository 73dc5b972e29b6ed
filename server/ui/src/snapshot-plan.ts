// The view of a plan to delete or restore one snapshot.

import { createDescriptionList, createElement, type ElementChild } from "./elements.js";
import { formatSize, formatState, formatTimestamp, formatVm } from "./formatting.js";
import { toNumber, toObject, toText, toTexts, type JsonObject } from "./json.js";
import { renderPlanConfirmation, type PlanContext, type PlanRequest } from "./plan-confirmation.js";
import { parseSnapshot } from "./snapshot.js";
import type { ToolResult } from "./tool-result.js";

export function renderSnapshotPlan(request: PlanRequest, result: ToolResult, context: PlanContext): HTMLElement {
  const plan = toObject(result.content.plan);
  const snapshot = parseSnapshot({ ...plan, id: plan.snapshot_id });
  const isDeletion = request.tool === "delete_snapshot";
  const buttonLabel = isDeletion ? "Delete permanently" : "Create VM";
  const args = { ...planArguments(plan), ...request.args };
  return createElement(
    "section",
    { "aria-labelledby": "plan-heading" },
    createElement("h2", { id: "plan-heading", tabindex: -1 }, toText(plan.action)),
    ...toTexts(plan.warnings).map((warning) => createElement("p", { class: "warning" }, warning)),
    createDescriptionList([
      ["Snapshot", `${snapshot.name} (${snapshot.id}), ${formatState(snapshot)}`],
      ["VM", formatVm(snapshot)],
      ["Size", formatSize(snapshot.size)],
      ["Created", formatTimestamp(snapshot.createdAt)],
      ...(isDeletion ? describeDeletion(plan) : describeNewVm(plan)),
    ]),
    renderPlanConfirmation({ tool: request.tool, args }, result, buttonLabel, context),
  );
}

function planArguments(plan: JsonObject): JsonObject {
  return {
    snapshot_id: plan.snapshot_id,
    ...(toText(plan.new_vm_name) ? { new_vm_name: plan.new_vm_name } : {}),
  };
}

function describeDeletion(plan: JsonObject): [string, ElementChild][] {
  const image = toText(plan.derived_image);
  return [
    ["Other ready snapshots", `${toNumber(plan.older_of_vm) ?? "?"} older, ${toNumber(plan.newer_of_vm) ?? "?"} newer`],
    ["Also deleted", image ? `image ${image}` : "nothing else"],
  ];
}

function describeNewVm(plan: JsonObject): [string, ElementChild][] {
  const price = toNumber(plan.price_per_hour_estimate);
  const credit = toNumber(plan.credit);
  const freeGpus = toNumber(plan.free_gpus);
  const currency = toText(plan.currency);
  return [
    ["New VM", toText(plan.new_vm_name)],
    ["Flavor", [toText(plan.flavor) || "?", toText(plan.gpus), toText(plan.region)].filter(Boolean).join(", ")],
    ["Price", price === null ? "unknown" : `about ${price} ${currency} per hour (estimate)`],
    ["Contract", toText(plan.contract) || "unknown"],
    ["Credit", credit === null ? "unknown" : `${credit.toFixed(2)} ${currency}`],
    ...(freeGpus === null ? [] : [["Free GPUs", `${freeGpus} of this model in the region`] as [string, string]]),
  ];
}
