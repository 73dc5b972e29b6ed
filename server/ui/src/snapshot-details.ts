// The view of one snapshot, with buttons to plan its deletion or restore.

import { createDescriptionList, createElement, submitOnEnter } from "./elements.js";
import { formatSize, formatState, formatTimestamp, formatVm } from "./formatting.js";
import type { Snapshot } from "./snapshot.js";

const MAX_VM_NAME_LENGTH = 50;

export interface SnapshotActions {
  /** Names of the planning tools that the server offers. */
  available: string[];
  planDeletion: () => void;
  planRestore: (newVmName: string) => void;
  goBack: () => void;
}

/** Renders the full text of `inspect_snapshot`, collapsed. */
export function renderInspection(text: string): HTMLElement {
  return createElement("details", {}, createElement("summary", {}, "All details"), createElement("pre", {}, text));
}

/** Renders a snapshot; `inspection` is placed below its main properties. */
export function renderSnapshotDetails(snapshot: Snapshot, inspection: Node, actions: SnapshotActions): HTMLElement {
  const canDelete = actions.available.includes("delete_snapshot") && snapshot.state !== "deleting";
  const canRestore = actions.available.includes("restore_snapshot") && snapshot.state === "ready";
  return createElement(
    "section",
    { "aria-labelledby": "snapshot-heading" },
    createElement("button", { type: "button", onclick: actions.goBack }, "← All snapshots"),
    createElement("h2", { id: "snapshot-heading", tabindex: -1 }, snapshot.name || `Snapshot ${snapshot.id}`),
    createDescriptionList([
      ["ID", snapshot.id],
      ["VM", formatVm(snapshot)],
      ["State", formatState(snapshot)],
      ["Size", formatSize(snapshot.size)],
      ["Created", formatTimestamp(snapshot.createdAt)],
      ["Labels", snapshot.labels.join(", ") || (snapshot.labelsUnknown ? "unknown" : "none")],
      ["Protected", snapshot.protectionReason || "no"],
      ["Image", snapshot.derivedImage || (snapshot.imageUnknown ? "unknown, see all details" : "none")],
    ]),
    inspection,
    canDelete &&
      createElement(
        "div",
        { class: "toolbar" },
        createElement("button", { type: "button", onclick: actions.planDeletion }, "Plan deletion…"),
      ),
    canRestore && renderRestoreControls(snapshot, actions),
  );
}

function renderRestoreControls(snapshot: Snapshot, actions: SnapshotActions): HTMLElement {
  const input = createElement("input", {
    id: "new-vm-name",
    maxlength: MAX_VM_NAME_LENGTH,
    autocomplete: "off",
    value: `${snapshot.vmName || "vm"}-restored`.slice(0, MAX_VM_NAME_LENGTH),
  });
  const planRestore = (): void => actions.planRestore(input.value);
  submitOnEnter(input, planRestore);
  return createElement(
    "div",
    { class: "toolbar", role: "group", "aria-label": "Restore" },
    createElement("label", { for: "new-vm-name" }, "Restore to a new VM named"),
    input,
    createElement("button", { type: "button", onclick: planRestore }, "Plan restore…"),
  );
}
