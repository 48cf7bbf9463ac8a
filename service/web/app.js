// The page: a picture goes to POST /v1/predict and the answer is drawn. No build step, no library.
// Pictures are drawn on canvases and widths set through the DOM: `default-src 'self'` is enough.

import { askForKey, keyHeader } from "./key.js";

const PREVIEW_PX = 640; // longest side of the picture drawn; large photographs stay light
const TIERS = {
  loading: "loading",
  first: "a faster engine is being built",
  fallback: "the faster engine cannot run",
  restarting: "restarting",
};

const find = (id) => document.getElementById(id);
const form = find("options");

let picture = null; // the File to classify
let model = null; // the chosen model as the service describes it
let running = new AbortController(); // of the newest request; an older one is given up

class Refusal extends Error {
  constructor(message, requestId = "") {
    super(message);
    this.requestId = requestId;
  }
}

// Ask the service and return its JSON, or throw a Refusal that a person can read. Where the service
// wants an API key, ask for one and try again.
async function ask(path, options = {}) {
  const headers = { ...options.headers, ...keyHeader() };
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The service does not answer. Is it running?");
  });
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  if (response.status === 401) {
    await askForKey(find("key-place"), body?.error?.message ?? "needed");
    return ask(path, options);
  }
  const { message = `status ${response.status}`, request_id: id } = body?.error ?? {};
  const wait = response.headers.get("Retry-After");
  throw new Refusal(wait ? `${message}; try again in ${wait} s` : message, id);
}

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  Object.assign(made, attributes);
  return made;
}

// -- what the service offers

async function listModels() {
  const { models } = await ask("v1/models");
  find("model").replaceChildren(
    ...models.map(({ name, default: chosen }) => new Option(name, name, chosen, chosen)),
  );
  await describeModel("");
}

// Without a version: the latest one.
async function describeModel(version) {
  const query = version ? `?version=${encodeURIComponent(version)}` : "";
  model = await ask(`v1/models/${encodeURIComponent(find("model").value)}${query}`);
  find("version").replaceChildren(
    ...model.versions.map((each) => new Option(each, each, false, each === model.version)).reverse(),
  );
  find("versions").hidden = model.versions.length === 1;
  const blocks = find("blocks");
  const chosen = find("masks").value;
  blocks.replaceChildren(
    ...model.blocks.map(({ name, height, width }) => new Option(`${name} (${height} x ${width})`, name)),
  );
  find("masks").value = chosen;
  if (find("masks").selectedIndex < 0) find("masks").value = "last";
  find("top-k").max = model.labels.length;
  find("top-k").value = Math.min(find("top-k").value, model.labels.length);
  find("top-groups").max = model.blocks[0].groups;
  find("top-groups").value = Math.min(find("top-groups").value, model.blocks[0].groups);
  find("inserted").hidden = !model.sge_inserted;
  showEngine();
}

function showEngine() {
  const { name, precision, device, tier } = model.engine;
  const note = TIERS[tier] ? ` (${TIERS[tier]})` : "";
  find("engine").textContent =
    `${model.name} version ${model.version}, engine ${name}${note}, ${precision} on ${device}`;
}

// -- the request

function predictPath() {
  const query = new URLSearchParams({ model: find("model").value, top_k: find("top-k").value });
  if (!find("versions").hidden) query.set("version", find("version").value);
  if (find("masks").value) {
    const groups = find("groups").value;
    query.set("masks", find("masks").value);
    query.set("groups", groups === "top" ? `top:${find("top-groups").value}` : groups);
    query.set("mask_kind", find("kind").value);
    query.set("mask_format", "overlay");
  }
  return `v1/predict?${query}`;
}

function curlLine(path) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  return [
    `curl --data-binary ${quoted(`@${picture.name}`)}`,
    "-H 'Content-Type: application/octet-stream'",
    ...(keyHeader()["X-API-Key"] ? ['-H "X-API-Key: $KEY"'] : []),
    quoted(new URL(path, document.baseURI).href),
  ].join(" ");
}

async function classify() {
  if (!picture) {
    find("status").textContent = "Pick a picture first.";
    return;
  }
  if (!form.reportValidity()) return;
  running.abort();
  const ours = (running = new AbortController());
  find("status").textContent = `Classifying ${picture.name} ...`;
  const path = predictPath();
  try {
    const answer = await ask(path, {
      method: "POST",
      body: picture,
      headers: { "Content-Type": "application/octet-stream" },
      signal: ours.signal,
    });
    await showAnswer(answer, path);
    describeModel(find("version").value).catch(() => {}); // the engine may have changed; if not told, the answer stands
  } catch (error) {
    if (error.name !== "AbortError") showError(error);
  }
}

// -- the answer

async function showAnswer(answer, path) {
  const [{ predictions, masks = [] }] = answer.results;
  find("error").hidden = true;
  find("answer").hidden = false;
  find("mask-section").hidden = masks.length === 0;
  find("predictions").replaceChildren(...predictions.map(predictionRow));
  find("timing").replaceChildren(...timingRows(answer));
  find("curl").textContent = curlLine(path);
  find("copied").textContent = "";
  find("masks-drawn").replaceChildren(...(await Promise.all(masks.map(maskGrid))));
  const [{ label, score }] = predictions;
  find("status").textContent = `${label}, ${percent(score)}`;
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;

function predictionRow({ label, score }) {
  const row = element("li");
  const bar = element("div", "", { className: "bar", ariaHidden: "true" });
  const filled = element("span");
  filled.style.width = percent(score).replace(" ", "");
  bar.append(filled);
  row.append(element("span", label), element("span", percent(score)), bar);
  return row;
}

function timingRows({ timing_ms: timing, batch_size: batch, engine }) {
  const rows = Object.entries(timing).map(([phase, ms]) => [phase, `${ms.toFixed(1)} ms`]);
  rows.push(["batch", `${batch} image${batch === 1 ? "" : "s"}`], ["engine", engine]);
  return rows.map(([term, value]) => {
    const row = element("div");
    row.append(element("dt", term), element("dd", value));
    return row;
  });
}

async function maskGrid({ block, kind, height, width, groups, images }) {
  const names = groups === "mean" ? ["mean of all groups"] : groups.map((id) => `group ${id}`);
  const grid = element("div", "", { className: images.length === 1 ? "grid single" : "grid" });
  grid.append(...(await Promise.all(images.map((image, at) => overlay(image, names[at], block)))));
  const section = element("section");
  section.append(element("h3", `${block}: ${kind}, ${height} x ${width} positions`), grid);
  return section;
}

async function overlay(base64, name, block) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const figure = element("figure");
  const canvas = element("canvas", "", { role: "img", ariaLabel: `${block}, ${name}` });
  draw(canvas, await createImageBitmap(new Blob([bytes], { type: "image/png" })), Infinity);
  figure.append(canvas, element("figcaption", name));
  return figure;
}

function draw(canvas, bitmap, longestPx) {
  const scale = Math.min(1, longestPx / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}

function showError(error) {
  const id = error.requestId ? ` (request ${error.requestId})` : "";
  find("status").textContent = "";
  find("answer").hidden = true;
  find("error").hidden = false;
  find("error").textContent = error.message + id;
}

// -- where a picture comes from: picked, dropped or pasted

function take(files) {
  if (files.length === 0) return;
  [picture] = files;
  showPreview(picture);
  classify();
}

async function showPreview(file) {
  const kilobytes = Math.max(1, Math.round(file.size / 1000));
  try {
    const bitmap = await createImageBitmap(file);
    find("caption").textContent = `${file.name}, ${bitmap.width} x ${bitmap.height}, ${kilobytes} kB`;
    draw(find("picture"), bitmap, PREVIEW_PX);
  } catch {
    find("picture").width = find("picture").height = 1;
    find("caption").textContent = `${file.name}, ${kilobytes} kB; this browser cannot show it`;
  }
}

find("file").addEventListener("change", (event) => take(event.target.files));
document.addEventListener("paste", (event) => take(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  take(event.dataTransfer.files);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  classify();
});
form.addEventListener("change", async (event) => {
  find("top-groups").disabled = find("groups").value !== "top";
  if (event.target.id === "file") return;
  if (event.target.id === "model") await describeModel("").catch(showError);
  if (event.target.id === "version") await describeModel(event.target.value).catch(showError);
  if (picture) classify();
});
find("copy").addEventListener("click", () => {
  const say = (text) => (find("copied").textContent = text);
  getSelection().selectAllChildren(find("curl"));
  say("Selected: copy it with Ctrl+C.");
  // Browsers have no clipboard on pages that come neither from localhost nor by https.
  navigator.clipboard?.writeText(find("curl").textContent).then(
    () => say("Copied."),
    () => {},
  );
});

listModels().catch(showError);
