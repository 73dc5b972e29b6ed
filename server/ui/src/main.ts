// The panel: shows what a call answered, and lets a person look, plan and agree.

import { App, applyDocumentTheme, applyHostStyleVariables, type McpUiHostContext } from "@modelcontextprotocol/ext-apps";
import { detail, everything } from "./detail.js";
import { element, fill, type Child } from "./dom.js";
import { following, lookAtVm, lookForSnapshot } from "./following.js";
import { batchPlan, onePlan, type Around, type Origin } from "./plans.js";
import { asJson, asList, asNumber, asText, asTexts, readSnapshot, type Json, type Snapshot } from "./reading.js";
import { readAnswer, Server, type Answer } from "./server.js";
import { table } from "./table.js";
import { legend, timeline } from "./timeline.js";

const PENDING_AGAIN_MILLISECONDS = 5_000;
const MOST_LOOKS_AT_PENDING = 120;

class Panel {
  private readonly news = document.getElementById("news")!;
  private readonly view = document.getElementById("view")!;
  private snapshots: Snapshot[] = [];
  private offered: string[] = [];
  private shape: "timeline" | "table" = "timeline";
  private search = "";
  private input: Json = {};
  private tool = "";
  private shown = new AbortController();
  private looks = 0;

  constructor(private readonly server: Server) {}

  hostContext(context: McpUiHostContext | undefined): void {
    if (context?.theme) applyDocumentTheme(context.theme);
    if (context?.styles?.variables) applyHostStyleVariables(context.styles.variables);
    this.tool = asText(context?.toolInfo?.tool.name) || this.tool;
  }

  toolInput(args: unknown): void {
    this.input = asJson(args);
    if (this.tool === "create_snapshot") this.followCreation();
  }

  toolResult(result: unknown): void {
    const answer = readAnswer(result);
    if (answer.failed) {
      this.outcome(answer.text);
      void this.refresh(false);
      return;
    }
    const { content } = answer;
    if ("decisions" in content) this.plan({ tool: "plan_retention", args: this.input }, answer);
    else if ("plan" in content) this.plan({ tool: this.planningTool(content), args: this.input }, answer);
    else if (Array.isArray(content.snapshots)) this.take(asList(content.snapshots), answer.text.split("\n")[0] ?? "");
    else if ("age_days" in content || "vm_gone" in content) {
      void this.openInspected(inspected(content), everything(answer.text));
      return;
    } else this.outcome(answer.text, asNumber(asJson(content.virtual_machine).id));
    void this.refresh(Array.isArray(content.snapshots));
  }

  cancelled(): void {
    this.outcome("The call was cancelled. What was sent before may still happen: look at the list.");
  }

  stop(): void {
    this.shown.abort();
  }

  private planningTool(content: Json): string {
    // A restore answers without the snapshot's id beside its plan.
    return "snapshot_id" in content ? "delete_snapshot" : "restore_snapshot";
  }

  private take(list: Json[], told: string): void {
    this.snapshots = list.map(readSnapshot);
    this.overview(told);
  }

  /** Reads everything for the timeline; the view is drawn anew only where it is the overview. */
  private async refresh(draw: boolean): Promise<void> {
    // Whoever opened something meanwhile is not taken away from it.
    const { signal } = this.shown;
    const { failed, text, content } = await this.server.call("panel_snapshots", {});
    if (failed) {
      if (draw) fill(this.news, text);
      return;
    }
    this.snapshots = asList(content.snapshots).map(readSnapshot);
    this.offered = asTexts(content.actions);
    const total = asNumber(content.total) ?? this.snapshots.length;
    const left = total - this.snapshots.length;
    const told = `${total} snapshots, ${asNumber(content.total_size) ?? "?"} GB${left > 0 ? `; the newest ${this.snapshots.length} are shown` : ""}`;
    if (draw && !signal.aborted) this.overview(told);
  }

  private show(...children: Child[]): AbortSignal {
    this.shown.abort();
    this.shown = new AbortController();
    fill(this.view, ...children);
    this.view.querySelector<HTMLElement>("h2[tabindex]")?.focus();
    return this.shown.signal;
  }

  private overview(told: string): void {
    fill(this.news, told);
    const place = element("div");
    const draw = (): void => {
      const part = this.search.toLowerCase();
      const wanted = this.snapshots.filter((it) => [it.name, it.vmName, ...it.labels].some((text) => text.toLowerCase().includes(part)));
      const open = (it: Snapshot): void => void this.inspect(it);
      if (!wanted.length) fill(place, element("p", {}, "No snapshot is like this."));
      else if (this.shape === "table") fill(place, table(wanted, open));
      else fill(place, timeline(wanted, open), legend());
    };
    const shapes = (["timeline", "table"] as const).map((shape) =>
      element("button", { type: "button", "aria-pressed": String(this.shape === shape), onclick: () => choose(shape) }, shape === "table" ? "Table" : "Timeline"),
    );
    const choose = (shape: "timeline" | "table"): void => {
      this.shape = shape;
      shapes.forEach((it, place) => it.setAttribute("aria-pressed", String(place === (shape === "table" ? 1 : 0))));
      draw();
    };
    const filter = element("input", {
      type: "search",
      "aria-label": "Only names, VMs and labels with",
      placeholder: "Part of a name, VM or label",
      value: this.search,
      oninput: () => {
        this.search = filter.value;
        draw();
      },
    });
    const again = element("button", { type: "button", onclick: () => void this.refresh(true) }, "Refresh");
    draw();
    const signal = this.show(element("div", { class: "bar" }, ...shapes, filter, again), place);
    requestAnimationFrame(() => performance.mark("drawn"));
    this.lookAgainAtPending(signal);
  }

  private lookAgainAtPending(signal: AbortSignal): void {
    if (!this.snapshots.some((it) => it.state === "pending") || this.looks >= MOST_LOOKS_AT_PENDING) return;
    setTimeout(() => {
      // Nobody is disturbed while they type.
      if (signal.aborted || document.activeElement instanceof HTMLInputElement) return;
      this.looks += 1;
      void this.refresh(true);
    }, PENDING_AGAIN_MILLISECONDS);
  }

  private async inspect(snapshot: Snapshot): Promise<void> {
    // Only this place is filled later: what the person typed meanwhile stays.
    const more = element("div");
    this.open(snapshot, more);
    const { failed, text } = await this.server.call("inspect_snapshot", { snapshot_id: snapshot.id });
    fill(more, failed ? element("p", {}, text) : everything(text));
  }

  /** Shows it at once, and what can be planned with it when that is known. */
  private async openInspected(snapshot: Snapshot, more: Node): Promise<void> {
    this.open(snapshot, more);
    const { signal } = this.shown;
    await this.refresh(false);
    if (!signal.aborted) this.open(snapshot, more);
  }

  private open(snapshot: Snapshot, more: Node): void {
    const known = this.snapshots.find((it) => it.id === snapshot.id) ?? snapshot;
    this.show(
      detail(known, more, {
        offered: this.offered,
        planDeletion: () => void this.ask("delete_snapshot", { snapshot_id: known.id }),
        planRestore: (name) => void this.ask("restore_snapshot", { snapshot_id: known.id, new_vm_name: name }),
        back: () => void this.refresh(true),
      }),
    );
  }

  private async ask(tool: string, args: Json): Promise<void> {
    const answer = await this.server.call(tool, args);
    if (answer.failed) fill(this.news, answer.text);
    else this.plan({ tool, args }, answer);
  }

  private plan(origin: Origin, answer: Answer): void {
    fill(this.news, "Nothing was changed yet.");
    const around: Around = {
      server: this.server,
      done: (committed, from) => this.committed(committed, from),
      leave: () => void this.refresh(true),
    };
    const batch = origin.tool === "plan_retention";
    this.show(batch ? batchPlan(origin, answer, around) : onePlan(origin, answer, around));
  }

  private committed(answer: Answer, origin: Origin): void {
    const { deletion, restore } = answer.content;
    const one = asJson(deletion ?? restore);
    if ("plan" in one) {
      // It changed meanwhile: there is a new plan, with a nonce of its own.
      this.plan(origin, { ...answer, content: one });
      fill(this.news, asText(one.next_step));
      return;
    }
    this.outcome(answer.text, asNumber(asJson(one.virtual_machine).id));
    void this.server.tellModel(`The person used the panel for ${origin.tool}. What came of it: ${answer.text}`);
  }

  private outcome(text: string, vmId: number | null = null): void {
    fill(this.news, "");
    const back = element("button", { type: "button", onclick: () => void this.refresh(true) }, "← All snapshots");
    const told = element("section", { class: "card", "aria-label": "Outcome" }, element("h2", { tabindex: -1 }, "Outcome"), element("pre", { id: "outcome" }, text));
    const signal = this.show(back, told);
    if (vmId !== null) this.view.append(following(`VM ${vmId}`, lookAtVm(this.server, vmId), signal, () => undefined));
  }

  private followCreation(): void {
    const name = asText(this.input.name);
    const signal = this.show();
    this.view.append(following(`Taking ${name}`, lookForSnapshot(this.server, this.input), signal, () => void this.refresh(true)));
  }
}

function inspected(content: Json): Snapshot {
  const json = asJson(content.snapshot);
  return readSnapshot({ ...json, state: content.state, vm_gone: content.vm_gone, derived_image: content.derived_image });
}

const app = new App({ name: "snapshots-panel", version: "1.0.0" }, {}, { autoResize: true });
const panel = new Panel(new Server(app));
app.ontoolinput = (params) => panel.toolInput(params.arguments);
app.ontoolresult = (params) => panel.toolResult(params);
app.ontoolcancelled = () => panel.cancelled();
app.onhostcontextchanged = (context) => panel.hostContext(context);
app.onteardown = () => {
  panel.stop();
  return {};
};
void app.connect().then(() => panel.hostContext(app.getHostContext()));
