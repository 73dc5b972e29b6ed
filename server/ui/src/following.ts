// What takes a while: looked at again until it is over, it takes too long, or nobody looks.

import { element, fill } from "./dom.js";
import { asList, asNumber, asText, readSnapshot, type Json } from "./reading.js";
import type { Server } from "./server.js";

const PAUSE_MILLISECONDS = 2_000;
const LONGEST_MILLISECONDS = 900_000;

/** One look: what to tell, and whether it is over. */
export interface Look {
  told: string;
  over: boolean;
}

/** Shows how something goes on; `signal` ends it when another view takes its place. */
export function following(title: string, look: () => Promise<Look>, signal: AbortSignal, over: () => void): HTMLElement {
  const line = element("p", { role: "status" }, "Under way…");
  const bar = element("progress", { "aria-label": title });
  const began = performance.now();
  const again = async (): Promise<void> => {
    if (signal.aborted) return;
    const seen = await look();
    if (signal.aborted) return;
    const seconds = Math.round((performance.now() - began) / 1_000);
    fill(line, `${seen.told}, after ${seconds} s`);
    if (seen.over || performance.now() - began > LONGEST_MILLISECONDS) {
      bar.remove();
      over();
      return;
    }
    setTimeout(() => void again(), PAUSE_MILLISECONDS);
  };
  setTimeout(() => void again(), 0);
  return element("section", { class: "card", "aria-label": title }, element("h2", { tabindex: -1 }, title), line, bar);
}

export function lookAtVm(server: Server, vmId: number): () => Promise<Look> {
  return async () => {
    const { failed, text, content } = await server.call("panel_virtual_machine", { vm_id: vmId });
    if (failed) return { told: text, over: false };
    return { told: `VM ${vmId} ${asText(content.name)} is ${asText(content.status) || "?"}`, over: content.over === true };
  };
}

/** Follows the snapshot that a call is about to make, by the name that it will have. */
export function lookForSnapshot(server: Server, args: Json): () => Promise<Look> {
  return async () => {
    const { failed, text, content } = await server.call("panel_snapshots", { vm_id: asNumber(args.vm_id) ?? 0 });
    if (failed) return { told: text, over: false };
    const found = asList(content.snapshots).map(readSnapshot).find((it) => it.name === asText(args.name));
    if (!found) return { told: "Not in the list yet", over: false };
    return { told: `Snapshot ${found.id} is ${found.state}`, over: found.state === "ready" || found.state === "failed" };
  };
}
