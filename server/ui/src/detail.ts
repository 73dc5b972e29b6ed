// One snapshot, and what can be planned with it.

import { element, factList, onEnter, type Child } from "./dom.js";
import { gigabytes, moment, stateTitle, vmTitle, type Snapshot } from "./reading.js";

const LONGEST_NAME = 50;

export interface Actions {
  offered: string[];
  planDeletion: () => void;
  planRestore: (newVmName: string) => void;
  back: () => void;
}

/** What is known of it beyond the list, folded away. */
export const everything = (text: string): HTMLElement =>
  element("details", {}, element("summary", {}, "Everything that is known of it"), element("pre", {}, text));

export function detail(it: Snapshot, more: Node, actions: Actions): HTMLElement {
  const facts: [string, Child][] = [
    ["Id", it.id],
    ["VM", vmTitle(it)],
    ["State", stateTitle(it)],
    ["Size", gigabytes(it.size)],
    ["Taken", moment(it.taken)],
    ["Labels", it.labels.join(", ") || "none"],
    ["Protected", it.protectedBy || "no"],
    ["Image", it.image || "none"],
  ];
  return element(
    "section",
    { "aria-labelledby": "one" },
    element("button", { type: "button", onclick: actions.back }, "← All snapshots"),
    element("h2", { id: "one", tabindex: -1 }, it.name || `Snapshot ${it.id}`),
    factList(facts),
    more,
    actions.offered.includes("delete_snapshot") &&
      element("div", { class: "bar" }, element("button", { type: "button", onclick: actions.planDeletion }, "Plan to delete it…")),
    actions.offered.includes("restore_snapshot") && it.state === "ready" && restoreForm(it, actions),
  );
}

function restoreForm(it: Snapshot, actions: Actions): HTMLElement {
  const value = `${it.vmName || "vm"}-restored`.slice(0, LONGEST_NAME);
  const name = element("input", { id: "new-name", maxlength: LONGEST_NAME, autocomplete: "off", value });
  const plan = (): void => actions.planRestore(name.value);
  onEnter(name, plan);
  return element(
    "div",
    { class: "bar", role: "group", "aria-label": "Restore" },
    element("label", { for: "new-name" }, "Restore as a new VM named"),
    name,
    element("button", { type: "button", onclick: plan }, "Plan to restore it…"),
  );
}
