// Snapshots in time: a row for each VM. One stop of the Tab key; arrows go from mark to mark.

import { element } from "./dom.js";
import { day, gigabytes, moment, stateTitle, vmTitle, type Snapshot } from "./reading.js";

const SMALLEST = 8;
const LARGEST = 22;
const TICKS = 4;

type Open = (snapshot: Snapshot) => void;

/** What a mark is called where it is not seen. */
export function described(it: Snapshot): string {
  const more = [it.protectedBy && "protected", it.image && "has an image"].filter(Boolean);
  return [it.name || `snapshot ${it.id}`, gigabytes(it.size), stateTitle(it), moment(it.taken), ...more].join(", ");
}

export function timeline(snapshots: Snapshot[], open: Open): HTMLElement {
  const rows = byVm(snapshots);
  const times = snapshots.flatMap((it) => (it.taken === null ? [] : [it.taken]));
  const first = times.reduce((a, b) => Math.min(a, b), times[0] ?? 0);
  const last = times.reduce((a, b) => Math.max(a, b), times[0] ?? 0);
  const largest = snapshots.reduce((most, it) => Math.max(most, it.size ?? 0), 1);
  const place = (it: Snapshot): number => (((it.taken ?? first) - first) / (last - first || 1)) * 100;
  const lines: HTMLElement[][] = [];
  const whole = element("div", { role: "group", "aria-label": "Timeline; arrow keys go from mark to mark" });
  whole.append(axis(first, last));
  for (const members of rows.values()) {
    const ordered = members.toSorted((a, b) => (a.taken ?? 0) - (b.taken ?? 0) || a.id - b.id);
    const marks = ordered.map((it) => mark(it, place(it), largest, open));
    lines.push(marks);
    const title = vmTitle(ordered[0]!);
    const track = element("div", { class: "track", role: "group", "aria-label": title });
    track.append(...marks);
    whole.append(element("div", { class: "row" }, element("div", { class: "name" }, title), track));
  }
  rove(whole, lines);
  return whole;
}

export function legend(): HTMLElement {
  const key = (kind: string, told: string): HTMLElement =>
    element("span", { class: `key ${kind}` }, element("i"), told);
  return element(
    "p",
    { class: "legend" },
    key("ready", "ready; larger is more GB"),
    key("pending", "pending"),
    key("failed", "failed"),
    key("unknown", "unknown state"),
    key("kept", "protected"),
    key("image", "an image was made from it"),
  );
}

function byVm(snapshots: Snapshot[]): Map<number | null, Snapshot[]> {
  const rows = new Map<number | null, Snapshot[]>();
  for (const it of snapshots) {
    const members = rows.get(it.vmId) ?? [];
    members.push(it);
    rows.set(it.vmId, members);
  }
  return rows;
}

function axis(first: number, last: number): HTMLElement {
  const line = element("div", { class: "axis", "aria-hidden": "true" });
  const days = new Set<string>();
  for (let tick = 0; tick <= TICKS; tick++) {
    const told = day(first + ((last - first) * tick) / TICKS);
    if (days.has(told) || (tick !== 0 && tick !== TICKS && innerWidth < 480)) continue;
    days.add(told);
    const label = element("span", {}, told);
    label.style.left = `${(100 * tick) / TICKS}%`;
    line.append(label);
  }
  return line;
}

function mark(it: Snapshot, at: number, largest: number, open: Open): HTMLElement {
  const kinds = ["mark", it.state, it.protectedBy && "kept", it.image && "image"].filter(Boolean);
  const dot = element("i");
  const across = SMALLEST + (LARGEST - SMALLEST) * Math.sqrt((it.size ?? 0) / largest);
  dot.style.setProperty("--across", `${Math.round(across)}px`);
  const name = described(it);
  const made = element(
    "button",
    { type: "button", class: kinds.join(" "), tabindex: -1, "aria-label": name, title: name, onclick: () => open(it) },
    dot,
  );
  made.style.left = `${at}%`;
  return made;
}

function rove(whole: HTMLElement, lines: HTMLElement[][]): void {
  const places = new Map(lines.flatMap((marks, row) => marks.map((it, column) => [it, [row, column]] as const)));
  let current = lines[0]?.at(-1);
  current?.setAttribute("tabindex", "0");
  const go = (target: HTMLElement | undefined): void => {
    if (!target) return;
    current?.setAttribute("tabindex", "-1");
    current = target;
    current.setAttribute("tabindex", "0");
    current.focus();
  };
  whole.addEventListener("keydown", (event) => {
    const [row, column] = places.get(document.activeElement as HTMLElement) ?? [];
    if (row === undefined || column === undefined) return;
    const target: Record<string, () => HTMLElement | undefined> = {
      ArrowLeft: () => lines[row]?.[column - 1],
      ArrowRight: () => lines[row]?.[column + 1],
      ArrowUp: () => nearest(lines[row - 1], document.activeElement as HTMLElement),
      ArrowDown: () => nearest(lines[row + 1], document.activeElement as HTMLElement),
      Home: () => lines[row]?.[0],
      End: () => lines[row]?.at(-1),
    };
    const next = target[event.key];
    if (!next) return;
    event.preventDefault();
    go(next());
  });
}

function nearest(marks: HTMLElement[] | undefined, from: HTMLElement): HTMLElement | undefined {
  const at = parseFloat(from.style.left);
  const away = (it: HTMLElement): number => Math.abs(parseFloat(it.style.left) - at);
  return marks?.reduce((best, it) => (away(it) < away(best) ? it : best));
}
