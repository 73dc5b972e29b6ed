// Snapshots as a table, some at a time.

import { element } from "./dom.js";
import { gigabytes, moment, stateTitle, vmTitle, type Snapshot } from "./reading.js";

const ROWS_AT_ONCE = 100;

export function table(snapshots: Snapshot[], open: (snapshot: Snapshot) => void): HTMLElement {
  const body = element("tbody");
  const more = element("button", { type: "button", onclick: () => add() });
  let shown = 0;
  const add = (): void => {
    body.append(...snapshots.slice(shown, shown + ROWS_AT_ONCE).map((it) => line(it, open)));
    shown = Math.min(shown + ROWS_AT_ONCE, snapshots.length);
    more.textContent = `Show more (${snapshots.length - shown} left)`;
    more.hidden = shown === snapshots.length;
  };
  add();
  const head = ["Name", "VM", "Taken", "Size", "State", "Marks"];
  const cells = head.map((it, column) => element("th", { scope: "col", class: look(column) }, it));
  return element(
    "div",
    {},
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...cells)), body)),
    more,
  );
}

const look = (column: number): string => ["", "", "short", "number", "short", "extra"][column] ?? "";

function line(it: Snapshot, open: (snapshot: Snapshot) => void): HTMLElement {
  const name = element("button", { type: "button", onclick: () => open(it) }, it.name || String(it.id));
  const marks = [it.protectedBy && "protected", it.image && `image ${it.image}`].filter(Boolean).join(", ");
  const cells = [name, vmTitle(it), moment(it.taken), gigabytes(it.size), stateTitle(it), marks];
  return element("tr", {}, ...cells.map((cell, column) => element("td", { class: look(column) }, cell)));
}
