// The switches of a view: how the map is laid over the picture.

import { find } from "./dom.js";

const RADIOS = ["show", "frame", "scale", "kind"];

// Call `change` with what was switched; `drag` while the opacity moves.
export function watchControls(change, drag) {
  for (const name of RADIOS) {
    for (const radio of document.getElementsByName(name)) {
      radio.addEventListener("change", () => change({ [name]: radio.value }));
    }
  }
  find("smooth").addEventListener("change", ({ target }) => change({ smooth: target.checked ? "on" : "off" }));
  find("opacity").addEventListener("input", ({ target }) => drag({ opacity: target.value }));
}

// Show a view's state; `kind` is what is shown where the view leaves that to the model.
export function showControls(view, kind) {
  const state = { ...view, kind };
  for (const name of RADIOS) {
    for (const radio of document.getElementsByName(name)) radio.checked = radio.value === state[name];
  }
  find("smooth").checked = view.smooth === "on";
  find("opacity").value = view.opacity;
  find("opacity-said").textContent = `${view.opacity} %`;
}
