// Shows openapi.json by whichever of the two libraries the page has loaded.

const url = new URL("openapi.json", document.baseURI).href;
const place = document.getElementById("reference");

if (window.SwaggerUIBundle) {
  SwaggerUIBundle({
    url,
    domNode: place,
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
  });
} else if (window.Redoc) {
  Redoc.init(url, {}, place);
}
