// The classes of an answer with their probabilities; each can be asked where its evidence lies.

import { element } from "./dom.js";

export const MOST = 1000; // classes that the service tells of in an answer

// How many are listed where more are asked for.
export const moreThan = (count) => Math.min(MOST, 5 * count);

// One row a class. `pick` is called with its index, and whether it is to be taken away from the other.
export function classRows(answer, layer, pick) {
  const chosen = layer.classes ?? [];
  return answer.predictions.map((prediction) => classRow(prediction, chosen, pick));
}

function classRow({ index, label, score }, [first, second], pick) {
  const isFirst = index === first;
  const isSecond = index === second;
  const button = element(
    "button",
    {
      type: "button",
      className: "stop class",
      ariaPressed: String(isFirst),
      title: "Where is the evidence for it? With Shift: rather than for this one.",
      onclick: ({ shiftKey }) => pick(index, shiftKey && first !== undefined),
      onkeydown: ({ key }) => {
        if (key === "-" && first !== undefined) pick(index, true);
      },
      "aria-keyshortcuts": "-",
    },
    element("span", { className: "label" }, label),
    element("span", { className: "score" }, percent(score)),
    bar(score),
  );
  button.dataset.index = index;
  if (first === undefined) return element("li", {}, button);
  const less = element(
    "button",
    {
      type: "button",
      className: "less",
      disabled: isFirst,
      tabIndex: -1, // by keyboard: the key - on the class
      ariaPressed: String(isSecond),
      ariaLabel: `rather than ${label}`,
      title: `Evidence rather than for ${label}`,
      onclick: () => pick(index, true),
    },
    "−",
  );
  return element("li", {}, button, less);
}

function bar(score) {
  const filled = element("span");
  filled.style.width = `${score * 100}%`;
  return element("span", { className: "share", ariaHidden: "true" }, filled);
}

export function percent(share) {
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
}
