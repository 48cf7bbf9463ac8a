// Buttons that copy: the commands, and the address of the view.

import { find } from "./dom.js";

export function watchCopying() {
  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.addEventListener("click", () => copy(button));
  }
}

// What is copied is selected as well: browsers have no clipboard on pages that come neither from
// localhost nor by https.
function copy(button) {
  const said = button.nextElementSibling;
  const place = find(button.dataset.copies);
  if (place.id === "link") place.textContent = location.href;
  getSelection().selectAllChildren(place);
  said.textContent = "Selected: copy it with Ctrl+C.";
  navigator.clipboard?.writeText(place.textContent).then(
    () => (said.textContent = "Copied."),
    () => {},
  );
}
