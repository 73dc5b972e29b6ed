// Formats values for display.

import type { Snapshot } from "./snapshot.js";

/** Formats a time in milliseconds since the Unix epoch as "2026-01-31 12:00 UTC". */
export const formatTimestamp = (timestamp: number | null): string =>
  timestamp === null ? "unknown time" : `${new Date(timestamp).toISOString().slice(0, 16).replace("T", " ")} UTC`;

/** Formats a time in milliseconds since the Unix epoch as "2026-01-31". */
export const formatDate = (timestamp: number): string => new Date(timestamp).toISOString().slice(0, 10);

export const formatSize = (gigabytes: number | null): string => (gigabytes === null ? "? GB" : `${gigabytes} GB`);

export const formatVm = (snapshot: Snapshot): string =>
  `${snapshot.vmName || "VM"} (${snapshot.vmId ?? "?"})${snapshot.vmDeleted ? ", deleted" : ""}`;

export const formatState = (snapshot: Snapshot): string => {
  if (snapshot.state === "unknown") return `unknown (${snapshot.status || "?"})`;
  return snapshot.state === "deleting" ? "being deleted" : snapshot.state;
};
