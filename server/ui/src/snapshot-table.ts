// The table of snapshots. Rows are added in batches, so that long lists stay responsive.

import { createElement } from "./elements.js";
import { formatSize, formatState, formatTimestamp, formatVm } from "./formatting.js";
import type { Snapshot } from "./snapshot.js";

const ROWS_PER_BATCH = 100;

/** The columns of the table, with their CSS classes. */
const COLUMNS = [
  { title: "Name", className: "" },
  { title: "VM", className: "" },
  { title: "Created", className: "nowrap" },
  { title: "Size", className: "number" },
  { title: "State", className: "nowrap" },
  { title: "Notes", className: "wide-only" },
];

export function renderSnapshotTable(snapshots: Snapshot[], onOpen: (snapshot: Snapshot) => void): HTMLElement {
  const body = createElement("tbody");
  const moreButton = createElement("button", { type: "button", onclick: () => showNextBatch() });
  let shownCount = 0;
  const showNextBatch = (): void => {
    const batch = snapshots.slice(shownCount, shownCount + ROWS_PER_BATCH);
    body.append(...batch.map((snapshot) => renderRow(snapshot, onOpen)));
    shownCount += batch.length;
    moreButton.textContent = `Show more (${snapshots.length - shownCount} left)`;
    moreButton.hidden = shownCount === snapshots.length;
  };
  showNextBatch();
  const headCells = COLUMNS.map(({ title, className }) =>
    createElement("th", { scope: "col", class: className }, title),
  );
  const head = createElement("thead", {}, createElement("tr", {}, ...headCells));
  const table = createElement("table", {}, head, body);
  return createElement("div", {}, createElement("div", { class: "scroll" }, table), moreButton);
}

function renderRow(snapshot: Snapshot, onOpen: (snapshot: Snapshot) => void): HTMLElement {
  const notes = [snapshot.protectionReason && "protected", snapshot.derivedImage && `image ${snapshot.derivedImage}`];
  const values = [
    createElement("button", { type: "button", onclick: () => onOpen(snapshot) }, snapshot.name || String(snapshot.id)),
    formatVm(snapshot),
    formatTimestamp(snapshot.createdAt),
    formatSize(snapshot.size),
    formatState(snapshot),
    notes.filter(Boolean).join(", "),
  ];
  return createElement(
    "tr",
    {},
    ...COLUMNS.map(({ className }, index) => createElement("td", { class: className }, values[index])),
  );
}
