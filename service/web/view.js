// What is looked at, as the address of the page holds it. Of pictures of one's own it has the names alone.

import { MOST } from "./classes.js";

const DEFAULTS = {
  model: "", // the default one
  version: "", // the latest one
  picture: "", // the name of a picture of one's own; else the example
  beside: "", // the name of another picture that it is compared with
  with: "", // compared with `model:version`
  show: "evidence", // or attention
  class: "", // its index; else each picture's best class
  minus: "", // the class whose evidence is taken away
  classes: "10", // how many are listed
  block: "", // that is open
  group: "mean", // of the block, or its number
  groups: "8", // how many of an open block are shown, liveliest first
  kind: "", // gate or similarity; else what says something for the model
  frame: "model", // or original
  scale: "stretched", // or fixed
  smooth: "on", // or off
  opacity: "65", // per cent
};

const CHOICES = {
  show: ["evidence", "attention"],
  kind: ["", "gate", "similarity"],
  frame: ["model", "original"],
  scale: ["stretched", "fixed"],
  smooth: ["on", "off"],
};
const RANGES = {
  class: [0, 999999],
  minus: [0, 999999],
  classes: [1, MOST],
  groups: [1, 9999],
  opacity: [0, 100],
};

// The view that an address holds; what makes no sense in it is left out.
export function readView(search) {
  const given = Object.fromEntries(new URLSearchParams(search));
  const view = { ...DEFAULTS };
  for (const [name, value] of Object.entries(given)) {
    if (name in DEFAULTS && isGood(name, value)) view[name] = value;
  }
  return view;
}

function isGood(name, value) {
  if (CHOICES[name]) return CHOICES[name].includes(value);
  if (RANGES[name]) return isWithin(value, RANGES[name]);
  return name !== "group" || /^(mean|\d{1,4})$/.test(value);
}

const isWithin = (value, [low, high]) => /^\d{1,6}$/.test(value) && value >= low && value <= high;

// What belongs to a model, of another one's view.
export const ofModel = (model) => ({ model, version: "", class: "", minus: "", block: "", group: "mean", kind: "" });

// The address of a view: only what differs from the default stands in it.
export function linkTo(view) {
  const told = Object.entries(view).filter(([name, value]) => value !== DEFAULTS[name]);
  const query = new URLSearchParams(told).toString();
  return new URL(query ? `?${query}` : ".", document.baseURI).href;
}

// Show a view's address. A step that a person may want to take back is one of the history's.
export function writeView(view, isStep) {
  if (linkTo(view) === location.href) return;
  history[isStep ? "pushState" : "replaceState"](null, "", linkTo(view));
}
