// Helpers that build DOM elements. Strings are always inserted as text, never parsed as HTML.

export type ElementChild = Node | string | number | null | undefined | false;
type AttributeValue = string | number | boolean | EventListener;

/** Creates an element. An attribute whose value is a function, such as `onclick`, becomes an event listener. */
export function createElement<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, AttributeValue> = {},
  ...children: ElementChild[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice("on".length), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, String(value));
  }
  element.append(...toNodes(children));
  return element;
}

export function replaceChildren(parent: Element, ...children: ElementChild[]): void {
  parent.replaceChildren(...toNodes(children));
}

function toNodes(children: ElementChild[]): (Node | string)[] {
  return children.flatMap((child) =>
    child === null || child === undefined || child === false ? [] : [child instanceof Node ? child : String(child)],
  );
}

export function createDescriptionList(entries: [term: string, description: ElementChild][]): HTMLElement {
  return createElement(
    "dl",
    {},
    ...entries.flatMap(([term, description]) => [createElement("dt", {}, term), createElement("dd", {}, description)]),
  );
}

/** Calls `submit` on Enter. The panel uses no `<form>` because some clients block form submission in their frames. */
export function submitOnEnter(input: HTMLInputElement, submit: () => void): void {
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    submit();
  });
}
