// The panel: chooses the view for each tool call of the model and each action of the user.

import { applyDocumentTheme, applyHostStyleVariables, type McpUiHostContext } from "@modelcontextprotocol/ext-apps";
import { createElement, replaceChildren, type ElementChild } from "./elements.js";
import { toNumber, toObject, toObjects, toText, toTexts, type JsonObject } from "./json.js";
import type { PlanContext, PlanRequest } from "./plan-confirmation.js";
import { renderProgress, snapshotProgress, vmProgress } from "./progress.js";
import { renderRetentionPlan } from "./retention-plan.js";
import type { ServerClient } from "./server-client.js";
import { renderInspection, renderSnapshotDetails } from "./snapshot-details.js";
import { SnapshotOverview } from "./snapshot-overview.js";
import { renderSnapshotPlan } from "./snapshot-plan.js";
import { parseSnapshot, type Snapshot } from "./snapshot.js";
import { parseToolResult, type ToolResult } from "./tool-result.js";

const PENDING_REFRESH_INTERVAL_MS = 5_000;
const MAX_PENDING_REFRESHES = 120;

export class Panel {
  private readonly cloud = document.getElementById("cloud")!;
  private readonly status = document.getElementById("status")!;
  private readonly view = document.getElementById("view")!;
  private readonly overview = new SnapshotOverview(
    (snapshot) => void this.openSnapshot(snapshot),
    () => void this.refreshOverview(),
  );
  private snapshots: Snapshot[] = [];
  private availableActions: string[] = [];
  private toolName = "";
  private toolArguments: JsonObject = {};
  private pendingRefreshes = 0;
  /** Aborted when another view replaces the current one. */
  private viewLifetime = new AbortController();

  constructor(private readonly server: ServerClient) {}

  applyHostContext(context: McpUiHostContext | undefined): void {
    if (context?.theme) applyDocumentTheme(context.theme);
    if (context?.styles?.variables) applyHostStyleVariables(context.styles.variables);
    this.toolName = toText(context?.toolInfo?.tool.name) || this.toolName;
  }

  handleToolInput(args: unknown): void {
    this.toolArguments = toObject(args);
    if (this.toolName === "create_snapshot") this.showCreationProgress();
  }

  /** Shows the result of the model's tool call; the fields of the result determine the view. */
  handleToolResult(value: unknown): void {
    const result = parseToolResult(value);
    const { content } = result;
    this.showCloud(content);
    if (result.failed) {
      this.showResult(result.text);
    } else if ("decisions" in content) {
      this.showPlan({ tool: "plan_retention", args: this.toolArguments }, result);
    } else if ("plan" in content) {
      // Only the result of delete_snapshot repeats the snapshot's ID beside the plan.
      const tool = "snapshot_id" in content ? "delete_snapshot" : "restore_snapshot";
      this.showPlan({ tool, args: this.toolArguments }, result);
    } else if (Array.isArray(content.snapshots)) {
      this.snapshots = toObjects(content.snapshots).map(parseSnapshot);
      this.showOverview(result.text.split("\n")[0] ?? "");
      // The list has at most one page; the overview shows all snapshots.
      void this.refreshOverview();
      return;
    } else if ("age_days" in content || "vm_gone" in content) {
      void this.showInspectedSnapshot(parseInspectedSnapshot(content), renderInspection(result.text));
      return;
    } else {
      this.showResult(result.text, toNumber(toObject(content.virtual_machine).id));
    }
    void this.loadSnapshots();
  }

  handleCancellation(): void {
    this.showResult("The call was cancelled. Requests that were already sent may still take effect. Check the list.");
  }

  close(): void {
    this.viewLifetime.abort();
  }

  /** Shows in the header that the cloud is the embedded one, once a result says so. */
  private showCloud(content: JsonObject): void {
    if (content.embedded_cloud === true) this.cloud.hidden = false;
  }

  /** Loads the snapshots and the available actions without changing the view. */
  private async loadSnapshots(): Promise<ToolResult> {
    const result = await this.server.callTool("panel_snapshots", {});
    this.showCloud(result.content);
    if (!result.failed) {
      this.snapshots = toObjects(result.content.snapshots).map(parseSnapshot);
      this.availableActions = toTexts(result.content.actions);
    }
    return result;
  }

  /** Loads the snapshots and shows the overview, unless the view has changed in the meantime. */
  private async refreshOverview(): Promise<void> {
    const { signal } = this.viewLifetime;
    const { failed, text, content } = await this.loadSnapshots();
    if (failed) {
      replaceChildren(this.status, text);
      return;
    }
    if (signal.aborted) return;
    const shownCount = this.snapshots.length;
    const total = toNumber(content.total) ?? shownCount;
    const summary = `${total} snapshots, ${toNumber(content.total_size) ?? "?"} GB`;
    this.showOverview(total > shownCount ? `${summary} (showing the newest ${shownCount})` : summary);
  }

  /** Replaces the current view and moves the focus to its heading. */
  private showView(...children: ElementChild[]): AbortSignal {
    this.viewLifetime.abort();
    this.viewLifetime = new AbortController();
    replaceChildren(this.view, ...children);
    this.view.querySelector<HTMLElement>("h2[tabindex]")?.focus();
    return this.viewLifetime.signal;
  }

  private showOverview(summary: string): void {
    replaceChildren(this.status, summary);
    const signal = this.showView(...this.overview.render(this.snapshots));
    requestAnimationFrame(() => performance.mark("overview-rendered"));
    this.refreshWhilePending(signal);
  }

  private refreshWhilePending(signal: AbortSignal): void {
    const hasPending = this.snapshots.some(({ state }) => state === "pending" || state === "deleting");
    if (!hasPending || this.pendingRefreshes >= MAX_PENDING_REFRESHES) return;
    setTimeout(() => {
      // A refresh would interrupt the user's typing.
      if (signal.aborted || document.activeElement instanceof HTMLInputElement) return;
      this.pendingRefreshes += 1;
      void this.refreshOverview();
    }, PENDING_REFRESH_INTERVAL_MS);
  }

  private async openSnapshot(snapshot: Snapshot): Promise<void> {
    // Only this placeholder is filled later, so that text typed in the meantime is not lost.
    const placeholder = createElement("div");
    this.showSnapshotDetails(snapshot, placeholder);
    const { failed, text } = await this.server.callTool("inspect_snapshot", { snapshot_id: snapshot.id });
    replaceChildren(placeholder, failed ? createElement("p", {}, text) : renderInspection(text));
  }

  /** Shows the snapshot immediately, and its actions once they have been loaded. */
  private async showInspectedSnapshot(snapshot: Snapshot, inspection: Node): Promise<void> {
    this.showSnapshotDetails(snapshot, inspection);
    const { signal } = this.viewLifetime;
    await this.loadSnapshots();
    if (!signal.aborted) this.showSnapshotDetails(snapshot, inspection);
  }

  private showSnapshotDetails(snapshot: Snapshot, inspection: Node): void {
    const listed = this.snapshots.find(({ id }) => id === snapshot.id) ?? snapshot;
    const snapshotId = listed.id;
    this.showView(
      renderSnapshotDetails(listed, inspection, {
        available: this.availableActions,
        planDeletion: () => void this.requestPlan("delete_snapshot", { snapshot_id: snapshotId }),
        planRestore: (newVmName) =>
          void this.requestPlan("restore_snapshot", { snapshot_id: snapshotId, new_vm_name: newVmName }),
        goBack: () => void this.refreshOverview(),
      }),
    );
  }

  private async requestPlan(tool: string, args: JsonObject): Promise<void> {
    const result = await this.server.callTool(tool, args);
    if (result.failed) replaceChildren(this.status, result.text);
    else this.showPlan({ tool, args }, result);
  }

  private showPlan(request: PlanRequest, result: ToolResult): void {
    replaceChildren(this.status, "Nothing has been changed yet.");
    const context: PlanContext = {
      server: this.server,
      onCommitted: (commitResult, commitRequest) => this.handleCommit(commitResult, commitRequest),
      onCancel: () => void this.refreshOverview(),
    };
    const renderPlan = request.tool === "plan_retention" ? renderRetentionPlan : renderSnapshotPlan;
    this.showView(renderPlan(request, result, context));
  }

  private handleCommit(result: ToolResult, request: PlanRequest): void {
    const { deletion, restore } = result.content;
    const content = toObject(deletion ?? restore);
    if ("plan" in content) {
      // Something changed since the plan was made, so the server returned a new plan with its own nonce.
      this.showPlan(request, { ...result, content });
      replaceChildren(this.status, toText(content.next_step));
      return;
    }
    this.showResult(result.text, toNumber(toObject(content.virtual_machine).id));
    void this.server.updateModelContext(`The user confirmed ${request.tool} in the panel. Result: ${result.text}`);
  }

  private showResult(text: string, vmId: number | null = null): void {
    replaceChildren(this.status, "");
    const signal = this.showView(
      createElement("button", { type: "button", onclick: () => void this.refreshOverview() }, "← All snapshots"),
      createElement(
        "section",
        { class: "card", "aria-label": "Result" },
        createElement("h2", { tabindex: -1 }, "Result"),
        createElement("pre", { id: "result" }, text),
      ),
    );
    if (vmId === null) return;
    this.view.append(renderProgress(`VM ${vmId}`, vmProgress(this.server, vmId), signal, () => undefined));
  }

  private showCreationProgress(): void {
    const signal = this.showView();
    const title = `Creating snapshot ${toText(this.toolArguments.name)}`;
    const checkProgress = snapshotProgress(this.server, this.toolArguments);
    this.view.append(renderProgress(title, checkProgress, signal, () => void this.refreshOverview()));
  }
}

/** Parses the result of `inspect_snapshot`, which has some properties beside the snapshot instead of in it. */
function parseInspectedSnapshot(content: JsonObject): Snapshot {
  const { state, vm_gone, derived_image } = content;
  return parseSnapshot({ ...toObject(content.snapshot), state, vm_gone, derived_image });
}
