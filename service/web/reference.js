// Shows openapi.json by whichever of the two libraries the page has loaded.

import { askForKey, keyHeader } from "./key.js";

const url = new URL("openapi.json", document.baseURI).href;
const place = document.getElementById("reference");

// The document; while the service wants a key for it, ask for one.
async function load() {
  const response = await fetch(url, { headers: keyHeader() });
  if (response.status !== 401) return response.json();
  const { error } = await response.json();
  await askForKey(place, error.message);
  return load();
}

const description = await load();
if (window.SwaggerUIBundle) {
  SwaggerUIBundle({
    url,
    domNode: place,
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    requestInterceptor: (request) => {
      request.headers = { ...keyHeader(), ...request.headers };
      return request;
    },
  });
} else if (window.Redoc) {
  Redoc.init(description, {}, place);
}
