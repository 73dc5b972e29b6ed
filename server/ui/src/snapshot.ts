// The snapshot model of the panel.

import { toNumber, toText, toTexts, toTimestamp, type JsonObject } from "./json.js";

const KNOWN_STATES = ["ready", "pending", "failed", "deleting"] as const;

export type SnapshotState = (typeof KNOWN_STATES)[number] | "unknown";

export interface Snapshot {
  id: number;
  name: string;
  state: SnapshotState;
  /** The status reported by the cloud; only sent when `state` is "unknown". */
  status: string;
  vmId: number | null;
  vmName: string;
  vmDeleted: boolean;
  /** Estimated size in GB. */
  size: number | null;
  /** Creation time in milliseconds since the Unix epoch. */
  createdAt: number | null;
  labels: string[];
  labelsUnknown: boolean;
  /** The reason why the policy protects this snapshot; empty if it does not. */
  protectionReason: string;
  /** The image that was created from this snapshot; empty if there is none. */
  derivedImage: string;
  /** The list does not say whether there is an image. */
  imageUnknown: boolean;
}

/** Parses a snapshot from a list, a plan or the result of `panel_snapshots`. */
export function parseSnapshot(json: JsonObject): Snapshot {
  const stateText = toText(json.state);
  return {
    id: toNumber(json.id) ?? 0,
    name: toText(json.name),
    state: KNOWN_STATES.find((state) => state === stateText) ?? "unknown",
    status: toText(json.status),
    vmId: toNumber(json.vm_id),
    vmName: toText(json.vm_name),
    vmDeleted: json.vm_gone === true,
    size: toNumber(json.size),
    createdAt: toTimestamp(json.created_at),
    labels: toTexts(json.labels),
    labelsUnknown: json.labels === undefined,
    protectionReason: toText(json.protected),
    derivedImage: toText(json.derived_image),
    imageUnknown: json.image_unknown === true,
  };
}
