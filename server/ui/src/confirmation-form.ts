// The form in which the user types the confirmation words of a plan. The model has no access to it.

import { createElement, replaceChildren, submitOnEnter } from "./elements.js";
import { formatTimestamp } from "./formatting.js";
import type { ToolResult } from "./tool-result.js";

const MAX_INPUT_LENGTH = 200;

export interface Confirmation {
  /** The confirmation words that the user has to type. */
  expectedText: string;
  buttonLabel: string;
  expiresAt: number | null;
  /** Sends the words as the user typed them; the server compares them. */
  commit: (typedText: string) => Promise<ToolResult>;
  onCommitted: (result: ToolResult) => void;
  onCancel: () => void;
}

export function renderConfirmationForm(confirmation: Confirmation): HTMLElement {
  const error = createElement("p", { class: "error", role: "alert", id: "confirmation-error" });
  const input = createElement("input", {
    id: "confirmation-text",
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    maxlength: MAX_INPUT_LENGTH,
    "aria-describedby": "confirmation-error",
  });
  const confirmButton = createElement(
    "button",
    { type: "button", class: "danger", onclick: () => void submit() },
    confirmation.buttonLabel,
  );
  const cancelButton = createElement("button", { type: "button", onclick: confirmation.onCancel }, "Cancel");

  const submit = async (): Promise<void> => {
    if (confirmButton.disabled) return;
    if (!input.value) {
      replaceChildren(error, "Type the confirmation words first.");
      return;
    }
    confirmButton.disabled = cancelButton.disabled = true;
    replaceChildren(error, "");
    replaceChildren(confirmButton, "Working…");
    const result = await confirmation.commit(input.value);
    if (!result.failed) {
      confirmation.onCommitted(result);
      return;
    }
    confirmButton.disabled = cancelButton.disabled = false;
    replaceChildren(confirmButton, confirmation.buttonLabel);
    replaceChildren(error, result.text);
    input.focus();
    input.select();
  };

  submitOnEnter(input, () => void submit());
  return createElement(
    "div",
    { class: "card", role: "group", "aria-label": "Confirmation" },
    createElement(
      "label",
      { for: "confirmation-text" },
      "To confirm, type exactly: ",
      createElement("code", {}, confirmation.expectedText),
    ),
    input,
    error,
    createElement("div", { class: "toolbar" }, confirmButton, cancelButton),
    createElement("p", { class: "muted" }, `This plan expires at ${formatTimestamp(confirmation.expiresAt)}.`),
  );
}
