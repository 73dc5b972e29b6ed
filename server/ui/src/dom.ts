// Elements, made without a word of HTML: what other people wrote is set as text and nothing else.

export type Child = Node | string | number | null | undefined | false;
type Value = string | number | boolean | EventListener;

/** An element with attributes (an `on…` one is a listener) and children; text is set as text. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, String(value));
  }
  made.append(...shown(children));
  return made;
}

/** Puts `children` where others were. */
export function fill(place: Element, ...children: Child[]): void {
  place.replaceChildren(...shown(children));
}

function shown(children: Child[]): (Node | string)[] {
  return children.flatMap((child) =>
    child === null || child === undefined || child === false
      ? []
      : [child instanceof Node ? child : String(child)],
  );
}

/** Names and what stands under each. */
export function factList(facts: [string, Child][]): HTMLElement {
  return element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** What a form does, without one: the frames of some clients let no form be submitted. */
export function onEnter(input: HTMLInputElement, submit: () => void): void {
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    submit();
  });
}
