// The overview of all snapshots: a filter, and the choice between timeline and table.

import { createElement, replaceChildren } from "./elements.js";
import { renderSnapshotTable } from "./snapshot-table.js";
import { renderLegend, renderTimeline } from "./snapshot-timeline.js";
import type { Snapshot } from "./snapshot.js";

type Layout = "timeline" | "table";

const LAYOUTS: { layout: Layout; label: string }[] = [
  { layout: "timeline", label: "Timeline" },
  { layout: "table", label: "Table" },
];

/** Keeps the selected layout and the filter while other views are shown. */
export class SnapshotOverview {
  private layout: Layout = "timeline";
  private filterText = "";

  constructor(
    private readonly onOpen: (snapshot: Snapshot) => void,
    private readonly onRefresh: () => void,
  ) {}

  render(snapshots: Snapshot[]): [toolbar: HTMLElement, list: HTMLElement] {
    const list = createElement("div");
    const renderList = (): void => replaceChildren(list, ...this.renderSnapshots(snapshots));

    const layoutButtons = LAYOUTS.map(({ layout, label }) =>
      createElement(
        "button",
        { type: "button", "aria-pressed": String(layout === this.layout), onclick: () => selectLayout(layout) },
        label,
      ),
    );
    const selectLayout = (selected: Layout): void => {
      this.layout = selected;
      LAYOUTS.forEach(({ layout }, index) =>
        layoutButtons[index]?.setAttribute("aria-pressed", String(layout === selected)),
      );
      renderList();
    };
    const filterInput = createElement("input", {
      type: "search",
      "aria-label": "Filter by name, VM or label",
      placeholder: "Name, VM or label",
      value: this.filterText,
      oninput: () => {
        this.filterText = filterInput.value;
        renderList();
      },
    });
    const refreshButton = createElement("button", { type: "button", onclick: this.onRefresh }, "Refresh");

    renderList();
    return [createElement("div", { class: "toolbar" }, ...layoutButtons, filterInput, refreshButton), list];
  }

  private renderSnapshots(snapshots: Snapshot[]): HTMLElement[] {
    const filtered = snapshots.filter((snapshot) => this.matchesFilter(snapshot));
    if (!filtered.length) return [createElement("p", {}, "No matching snapshots.")];
    if (this.layout === "table") return [renderSnapshotTable(filtered, this.onOpen)];
    return [renderTimeline(filtered, this.onOpen), renderLegend()];
  }

  private matchesFilter(snapshot: Snapshot): boolean {
    const filterText = this.filterText.toLowerCase();
    return [snapshot.name, snapshot.vmName, ...snapshot.labels].some((text) => text.toLowerCase().includes(filterText));
  }
}
