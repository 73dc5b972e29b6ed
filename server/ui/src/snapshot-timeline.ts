// The timeline: one row per VM, one marker per snapshot.
//
// The timeline is a single tab stop; arrow keys, Home and End move the focus between markers ("roving tabindex").

import { createElement } from "./elements.js";
import { formatDate, formatSize, formatState, formatTimestamp, formatVm } from "./formatting.js";
import type { Snapshot } from "./snapshot.js";

const MIN_MARKER_SIZE_PX = 8;
const MAX_MARKER_SIZE_PX = 22;
const AXIS_INTERVALS = 4;
const MIN_WIDTH_FOR_ALL_AXIS_LABELS_PX = 480;

type OpenSnapshot = (snapshot: Snapshot) => void;

export function renderTimeline(snapshots: Snapshot[], onOpen: OpenSnapshot): HTMLElement {
  const times = snapshots.flatMap((snapshot) => (snapshot.createdAt === null ? [] : [snapshot.createdAt]));
  const start = times.reduce((earliest, time) => Math.min(earliest, time), times[0] ?? 0);
  const end = times.reduce((latest, time) => Math.max(latest, time), times[0] ?? 0);
  const maxSize = snapshots.reduce((largest, snapshot) => Math.max(largest, snapshot.size ?? 0), 1);
  const positionPercent = (snapshot: Snapshot): number =>
    (((snapshot.createdAt ?? start) - start) / (end - start || 1)) * 100;
  const markerRows: HTMLElement[][] = [];
  const root = createElement("div", {
    role: "group",
    "aria-label": "Timeline; use the arrow keys to move between snapshots",
  });
  root.append(renderAxis(start, end));
  for (const vmSnapshots of groupByVm(snapshots).values()) {
    const sorted = vmSnapshots.toSorted((a, b) => (a.createdAt ?? 0) - (b.createdAt ?? 0) || a.id - b.id);
    const markers = sorted.map((snapshot) => renderMarker(snapshot, positionPercent(snapshot), maxSize, onOpen));
    markerRows.push(markers);
    const title = formatVm(sorted[0]!);
    const track = createElement("div", { class: "track", role: "group", "aria-label": title });
    track.append(...markers);
    root.append(
      createElement("div", { class: "timeline-row" }, createElement("div", { class: "vm-name" }, title), track),
    );
  }
  enableArrowKeys(root, markerRows);
  return root;
}

export function renderLegend(): HTMLElement {
  const renderItem = (className: string, description: string): HTMLElement =>
    createElement("span", { class: `legend-item ${className}` }, createElement("i"), description);
  return createElement(
    "p",
    { class: "legend" },
    renderItem("ready", "ready (larger means more GB)"),
    renderItem("pending", "pending"),
    renderItem("failed", "failed"),
    renderItem("deleting", "being deleted"),
    renderItem("unknown", "unknown state"),
    renderItem("protected", "protected by the policy"),
    renderItem("has-image", "has an image"),
  );
}

function groupByVm(snapshots: Snapshot[]): Map<number | null, Snapshot[]> {
  const groups = new Map<number | null, Snapshot[]>();
  for (const snapshot of snapshots) {
    const group = groups.get(snapshot.vmId) ?? [];
    group.push(snapshot);
    groups.set(snapshot.vmId, group);
  }
  return groups;
}

function renderAxis(start: number, end: number): HTMLElement {
  const axis = createElement("div", { class: "axis", "aria-hidden": "true" });
  const labelledDates = new Set<string>();
  for (let tick = 0; tick <= AXIS_INTERVALS; tick++) {
    const date = formatDate(start + ((end - start) * tick) / AXIS_INTERVALS);
    const isInner = tick !== 0 && tick !== AXIS_INTERVALS;
    if (labelledDates.has(date) || (isInner && innerWidth < MIN_WIDTH_FOR_ALL_AXIS_LABELS_PX)) continue;
    labelledDates.add(date);
    const label = createElement("span", {}, date);
    label.style.left = `${(100 * tick) / AXIS_INTERVALS}%`;
    axis.append(label);
  }
  return axis;
}

function renderMarker(snapshot: Snapshot, percent: number, maxSize: number, onOpen: OpenSnapshot): HTMLElement {
  const classNames = [
    "marker",
    snapshot.state,
    snapshot.protectionReason && "protected",
    snapshot.derivedImage && "has-image",
  ];
  const description = describeSnapshot(snapshot);
  // The area of a marker, not its diameter, is proportional to the size of the snapshot.
  const scale = Math.sqrt((snapshot.size ?? 0) / maxSize);
  const sizePx = MIN_MARKER_SIZE_PX + (MAX_MARKER_SIZE_PX - MIN_MARKER_SIZE_PX) * scale;
  const shape = createElement("i");
  shape.style.setProperty("--marker-size", `${Math.round(sizePx)}px`);
  const marker = createElement(
    "button",
    {
      type: "button",
      class: classNames.filter(Boolean).join(" "),
      tabindex: -1,
      "aria-label": description,
      title: description,
      onclick: () => onOpen(snapshot),
    },
    shape,
  );
  marker.style.left = `${percent}%`;
  return marker;
}

/** Describes a snapshot for tooltips and screen readers. */
function describeSnapshot(snapshot: Snapshot): string {
  return [
    snapshot.name || `snapshot ${snapshot.id}`,
    formatSize(snapshot.size),
    formatState(snapshot),
    formatTimestamp(snapshot.createdAt),
    snapshot.protectionReason && "protected",
    snapshot.derivedImage && "has an image",
  ]
    .filter(Boolean)
    .join(", ");
}

function enableArrowKeys(root: HTMLElement, rows: HTMLElement[][]): void {
  const positions = new Map(
    rows.flatMap((markers, row) => markers.map((marker, column) => [marker, { row, column }] as const)),
  );
  let current = rows[0]?.at(-1);
  current?.setAttribute("tabindex", "0");

  const moveFocus = (target: HTMLElement | undefined): void => {
    if (!target) return;
    current?.setAttribute("tabindex", "-1");
    current = target;
    current.setAttribute("tabindex", "0");
    current.focus();
  };

  root.addEventListener("keydown", (event) => {
    const focused = document.activeElement as HTMLElement;
    const position = positions.get(focused);
    if (!position) return;
    const { row, column } = position;
    const findTarget = {
      ArrowLeft: () => rows[row]?.[column - 1],
      ArrowRight: () => rows[row]?.[column + 1],
      ArrowUp: () => findNearest(rows[row - 1], focused),
      ArrowDown: () => findNearest(rows[row + 1], focused),
      Home: () => rows[row]?.[0],
      End: () => rows[row]?.at(-1),
    }[event.key];
    if (!findTarget) return;
    event.preventDefault();
    moveFocus(findTarget());
  });
}

function findNearest(markers: HTMLElement[] | undefined, origin: HTMLElement): HTMLElement | undefined {
  const distance = (marker: HTMLElement): number =>
    Math.abs(parseFloat(marker.style.left) - parseFloat(origin.style.left));
  return markers?.reduce((nearest, marker) => (distance(marker) < distance(nearest) ? marker : nearest));
}
