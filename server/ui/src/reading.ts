// From the JSON of answers to what is shown. Any field may be missing; then it is left out.

export type Json = Record<string, unknown>;

export type State = "ready" | "pending" | "failed" | "unknown";

export interface Snapshot {
  id: number;
  name: string;
  state: State;
  status: string;
  vmId: number | null;
  vmName: string;
  vmGone: boolean;
  size: number | null;
  taken: number | null;
  labels: string[];
  protectedBy: string;
  image: string;
}

export const asJson = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
export const asList = (value: unknown): Json[] => (Array.isArray(value) ? value.map(asJson) : []);
export const asText = (value: unknown): string => (typeof value === "string" ? value : "");
export const asTexts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((it) => typeof it === "string") : [];
export const asNumber = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) ? value : null;
export const asTime = (value: unknown): number | null => {
  const time = Date.parse(asText(value));
  return Number.isNaN(time) ? null : time;
};

const STATES: readonly string[] = ["ready", "pending", "failed"];

/** Reads a snapshot as lists, plans and the panel's own tool tell of it. */
export function readSnapshot(json: Json): Snapshot {
  const state = asText(json.state);
  return {
    id: asNumber(json.id) ?? 0,
    name: asText(json.name),
    state: STATES.includes(state) ? (state as State) : "unknown",
    status: asText(json.status),
    vmId: asNumber(json.vm_id),
    vmName: asText(json.vm_name),
    vmGone: json.vm_gone === true,
    size: asNumber(json.size),
    taken: asTime(json.created_at),
    labels: asTexts(json.labels),
    protectedBy: asText(json.protected),
    image: asText(json.derived_image),
  };
}

export const moment = (time: number | null): string =>
  time === null ? "at an unknown time" : `${new Date(time).toISOString().slice(0, 16).replace("T", " ")} UTC`;
export const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
export const gigabytes = (size: number | null): string => (size === null ? "? GB" : `${size} GB`);
export const vmTitle = (snapshot: Snapshot): string =>
  `${snapshot.vmName || "VM"} (${snapshot.vmId ?? "?"})${snapshot.vmGone ? ", deleted" : ""}`;
export const stateTitle = (snapshot: Snapshot): string =>
  snapshot.state === "unknown" ? `unknown (${snapshot.status || "?"})` : snapshot.state;
