// Shows the progress of a restore or of a new snapshot by polling the server.

import { createElement, replaceChildren } from "./elements.js";
import { toNumber, toObjects, toText, type JsonObject } from "./json.js";
import type { ServerClient } from "./server-client.js";
import { parseSnapshot } from "./snapshot.js";

const POLL_INTERVAL_MS = 2_000;
const PROGRESS_TIMEOUT_MS = 900_000;

export interface Progress {
  message: string;
  finished: boolean;
}

type CheckProgress = () => Promise<Progress>;

/**
 * Renders a progress bar and polls until the operation has finished or the timeout has passed, then calls `onFinished`.
 * Aborting `signal` stops the polling.
 */
export function renderProgress(
  title: string,
  checkProgress: CheckProgress,
  signal: AbortSignal,
  onFinished: () => void,
): HTMLElement {
  const status = createElement("p", { role: "status" }, "Waiting for the first status…");
  const bar = createElement("progress", { "aria-label": title });
  const startedAt = performance.now();
  const poll = async (): Promise<void> => {
    if (signal.aborted) return;
    const progress = await checkProgress();
    if (signal.aborted) return;
    const elapsedMs = performance.now() - startedAt;
    replaceChildren(status, `${progress.message} (after ${Math.round(elapsedMs / 1_000)} s)`);
    if (progress.finished || elapsedMs > PROGRESS_TIMEOUT_MS) {
      bar.remove();
      onFinished();
      return;
    }
    setTimeout(() => void poll(), POLL_INTERVAL_MS);
  };
  setTimeout(() => void poll(), 0);
  return createElement(
    "section",
    { class: "card", "aria-label": title },
    createElement("h2", { tabindex: -1 }, title),
    status,
    bar,
  );
}

/** Checks a VM that a restore creates. */
export function vmProgress(server: ServerClient, vmId: number): CheckProgress {
  return async () => {
    const { failed, text, content } = await server.callTool("panel_virtual_machine", { vm_id: vmId });
    if (failed) return { message: text, finished: false };
    return {
      message: `VM ${vmId} ${toText(content.name)} is ${toText(content.status) || "?"}`,
      finished: content.over === true,
    };
  };
}

/** Checks the snapshot that a `create_snapshot` call with these arguments creates; it is found by its name. */
export function snapshotProgress(server: ServerClient, args: JsonObject): CheckProgress {
  return async () => {
    const { failed, text, content } = await server.callTool("panel_snapshots", { vm_id: toNumber(args.vm_id) ?? 0 });
    if (failed) return { message: text, finished: false };
    const snapshot = toObjects(content.snapshots)
      .map(parseSnapshot)
      .find(({ name }) => name === toText(args.name));
    if (!snapshot) return { message: "The snapshot is not listed yet", finished: false };
    return {
      message: `Snapshot ${snapshot.id} is ${snapshot.state}`,
      finished: snapshot.state !== "pending" && snapshot.state !== "unknown",
    };
  };
}
