// The API key, where the service wants one: kept while the tab is open, and asked for when it is missing.

const NAME = "sge-key";
let asking = null; // while a form is shown: done when a key was given

// What is sent beside other headers; nothing while there is no key.
export function keyHeader() {
  const key = sessionStorage.getItem(NAME);
  return key ? { "X-API-Key": key } : {};
}

// Show a form with the reason, and return when a key was given. Whoever asks meanwhile waits for the same one.
export function askForKey(place, reason) {
  asking ??= new Promise((given) => {
    const form = document.createElement("form");
    const label = document.createElement("label");
    const field = document.createElement("input");
    const button = document.createElement("button");
    form.id = "key-form";
    label.textContent = `API key (${reason})`;
    Object.assign(field, { id: "key", type: "password", required: true, autocomplete: "off" });
    label.htmlFor = field.id;
    button.textContent = "Use this key";
    form.append(label, field, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(NAME, field.value.trim());
      form.remove();
      asking = null;
      given();
    });
    place.replaceChildren(form);
    field.focus();
  });
  return asking;
}
