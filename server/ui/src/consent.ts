// Where a person agrees: the words are typed here, and the model cannot type them.

import { element, fill, onEnter } from "./dom.js";
import type { Answer } from "./server.js";

/** What a person is asked to agree to. */
export interface Agreement {
  words: string;
  button: string;
  ends: string;
  commit: (words: string) => Promise<Answer>;
  done: (answer: Answer) => void;
  leave: () => void;
}

export function consentForm(it: Agreement): HTMLElement {
  const told = element("p", { class: "refused", role: "alert", id: "refused" });
  const input = element("input", {
    id: "words",
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    maxlength: 200,
    "aria-describedby": "refused",
  });
  const agree = element("button", { type: "button", class: "danger", onclick: () => void submit() }, it.button);
  const leave = element("button", { type: "button", onclick: it.leave }, "Leave it");
  const submit = async (): Promise<void> => {
    if (agree.disabled) return;
    if (!input.value) {
      fill(told, "Nothing is typed yet.");
      return;
    }
    agree.disabled = leave.disabled = true;
    fill(told, "");
    fill(agree, "Under way…");
    const answer = await it.commit(input.value);
    if (!answer.failed) {
      it.done(answer);
      return;
    }
    agree.disabled = leave.disabled = false;
    fill(agree, it.button);
    fill(told, answer.text);
    input.focus();
    input.select();
  };
  onEnter(input, () => void submit());
  return element(
    "div",
    { class: "card", role: "group", "aria-label": "Consent" },
    element("label", { for: "words" }, "To agree, type exactly: ", element("code", {}, it.words)),
    input,
    told,
    element("div", { class: "bar" }, agree, leave),
    element("p", { class: "quiet" }, `This plan ends ${it.ends}.`),
  );
}
