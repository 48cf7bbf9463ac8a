// Elements of the page: found, made, and walked through by keyboard.

export const find = (id) => document.getElementById(id);

// An element with properties, and children that are elements or text.
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Replace a list's content; the focus stays on the same place where it was inside.
export function refill(list, children) {
  const at = buttonsOf(list).indexOf(document.activeElement);
  list.replaceChildren(...children);
  const stops = stopsOf(list);
  rove(stops, stops.findIndex((each) => each.ariaPressed === "true"));
  if (at >= 0) buttonsOf(list)[at]?.focus();
}

// Let arrow keys, Home and End walk through a list of buttons, of which Tab reaches one.
export function walkable(list) {
  list.addEventListener("keydown", (event) => {
    const all = stopsOf(list);
    const to = STEPS[event.key]?.(all.indexOf(document.activeElement), all.length);
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    rove(all, to);
    all[to].focus();
  });
}

const STEPS = {
  ArrowRight: (at) => at + 1,
  ArrowDown: (at) => at + 1,
  ArrowLeft: (at) => at - 1,
  ArrowUp: (at) => at - 1,
  Home: () => 0,
  End: (_, count) => count - 1,
};

const buttonsOf = (list) => [...list.querySelectorAll("button")];
const stopsOf = (list) => [...list.querySelectorAll("button.stop")];

function rove(all, to) {
  all.forEach((each, at) => (each.tabIndex = at === Math.max(0, to) ? 0 : -1));
}

// An error as a person reads it, with the id by which the service's log has it.
export function wordsOf({ message, requestId }) {
  return requestId ? `${message} (request ${requestId})` : message;
}

// Say an error where it happened; without one, take it away.
export function sayError(place, error) {
  place.hidden = !error;
  place.textContent = error ? wordsOf(error) : "";
}
