// The page: pictures go to POST /v1/predict, and what the answers show is drawn. No build step, no library.

import { answerTo, forget, groupsOf } from "./answers.js";
import { listModels } from "./api.js";
import { FIRST, groupTiles, groupsWanted } from "./block.js";
import { offerClasses, offerModels, offerOthers, offerVersions } from "./choices.js";
import { percent } from "./classes.js";
import { showControls, watchControls } from "./controls.js";
import { watchCopying } from "./copying.js";
import { find, refill, sayError, walkable } from "./dom.js";
import { layerOf, sameClass } from "./layers.js";
import { openExample, openPicture } from "./pictures.js";
import { drawBlockHead, drawMaps, drawSides, drawSnippets, drawStrips, drawWords } from "./scene.js";
import { watchSources } from "./sources.js";
import { thumbnailOf } from "./thumbnails.js";
import { readView, writeView } from "./view.js";

const MOST_PICTURES = 48; // kept on the page

let view = readView(location.search);
let models = [];
let pictures = [];
let picture = null; // that is looked at
let other = null; // that it is compared with
let shown = []; // one side or two, each an answer and the layer over it
let good = null; // the view and the picture of what is shown
let running = new AbortController(); // of the newest question; an older one is given up

// -- from a view to what it shows

async function refresh(isStep = true) {
  running.abort();
  const { signal } = (running = new AbortController());
  find("main").ariaBusy = "true";
  try {
    const main = await sideOf(picture, view.model, view.version, null, signal);
    const second = await secondSide(main, signal);
    if (signal.aborted) return false;
    shown = second ? [main, second] : [main];
    good = { view: { ...view }, picture };
    sayError(find("error"), null);
    writeView(view, isStep);
    draw();
    await showBlock(signal);
    return true;
  } catch (error) {
    if (!signal.aborted) giveUp(error);
    return false;
  } finally {
    if (!signal.aborted) find("main").ariaBusy = "false";
  }
}

// Say an error and go back to the last view that was answered.
function giveUp(error) {
  const about = picture && !picture.isExample ? `${picture.name}: ` : "";
  error.message = about + error.message;
  sayError(find("error"), error);
  if (!good) return;
  if (picture !== good.picture) picture.said = "not answered";
  view = { ...good.view };
  picture = good.picture;
  draw();
}

async function sideOf(each, name, version, asked, signal) {
  const named = models.some((model) => model.name === name) ? name : defaultModel();
  const wanted = { name: named, version, kind: view.kind, classes: Number(view.classes) };
  const answer = await answerTo(each, wanted, signal);
  const [{ label, score }] = answer.predictions;
  each.said = `${label}, ${percent(score)}`;
  return { answer, layer: await layerOf(answer, view, asked ?? answer.model, signal) };
}

const defaultModel = () => (models.find((model) => model.default) ?? models[0]).name;

// What the picture is compared with, if with anything; where that fails the picture is shown alone.
async function secondSide({ answer }, signal) {
  sayError(find("with-error"), null);
  const { name, version } = answer.model;
  const [otherName, otherVersion] = splitLast(view.with);
  if (!other && !view.with) return null;
  try {
    return other
      ? await sideOf(other, name, version, answer.model, signal)
      : await sideOf(picture, otherName, otherVersion, answer.model, signal);
  } catch (error) {
    if (!signal.aborted) sayError(find("with-error"), error);
    return null;
  }
}

const splitLast = (text) => [text.slice(0, text.lastIndexOf(":")), text.slice(text.lastIndexOf(":") + 1)];

function draw() {
  const [{ answer }] = shown;
  offerVersions(answer.model);
  offerClasses(answer.model);
  offerOthers(models, pictures, shown, view);
  showControls(view, answer.kind);
  drawThumbnails();
  drawSides(shown, view, pickClass);
  drawStrips(shown, view, openBlock);
  drawWords(shown);
  drawSnippets(shown);
  const own = shown.map((side) => side.answer.picture).find((each) => !each.isExample);
  find("link-note").hidden = !own;
  find("lost").hidden = !view.picture || pictures.some(({ name }) => name === view.picture);
  find("lost").textContent = `This view is of ${view.picture}, which no link can hold: pick or drop it to see it here.`;
  find("answer").hidden = false;
}

function drawThumbnails() {
  refill(find("pictures"), pictures.map((each) => thumbnailOf(each, each === shown[0]?.answer.picture, look)));
}

// The groups of an open block; what goes wrong is said there.
async function showBlock(signal) {
  const [{ answer }] = shown;
  const block = drawBlockHead(answer, view);
  if (!block) return;
  try {
    const groups = await groupsOf(answer, block.name, groupsWanted(view, block), signal);
    if (signal.aborted) return;
    sayError(find("block-error"), null);
    refill(find("groups"), groupTiles(groups, answer.kind, view, pickGroup));
  } catch (error) {
    if (!signal.aborted) sayError(find("block-error"), error);
  }
}

// -- what a person does

function change(step) {
  Object.assign(view, step);
  return refresh();
}

function look(each) {
  picture = each;
  return change({ picture: each.isExample ? "" : each.name, class: "", minus: "" });
}

function pickClass({ answer }, index, isLess) {
  const [main] = shown;
  const number = sameClass(index, answer.model, main.answer.model);
  const [first, second] = main.layer.classes ?? [];
  if (!isLess) return change({ show: "evidence", class: String(number), minus: "" });
  if (number === first) return null;
  return change({ show: "evidence", class: String(first ?? number), minus: number === second ? "" : String(number) });
}

function openBlock(name) {
  const isOpen = view.block === name && view.show === "attention" && view.group === "mean";
  return change(isOpen ? { block: "" } : { block: name, group: "mean", groups: String(FIRST), show: "attention" });
}

function pickGroup(group) {
  return change({ show: "attention", group: String(group), frame: "original" });
}

// Look at the first of new pictures that is answered, and answer the others meanwhile.
async function take(files) {
  const room = Math.max(0, MOST_PICTURES - pictures.length);
  const fresh = await Promise.all(files.slice(0, room).map((file) => openPicture(file)));
  pictures.push(...fresh);
  const refused = [];
  let isLookedAt = false;
  for (const each of fresh) {
    if (!isLookedAt) isLookedAt = await look(each);
    else await answerQuietly(each);
    if (each.said === "not answered") refused.push(find("error").textContent);
    drawThumbnails();
  }
  if (isLookedAt && refused.length) sayError(find("error"), new Error(refused.join(" ")));
  if (files.length > room) sayError(find("error"), new Error(`The page keeps ${MOST_PICTURES} pictures; reload it to begin anew.`));
}

async function answerQuietly(each) {
  try {
    await sideOf(each, view.model, view.version, null, undefined);
  } catch {
    each.said = "not answered"; // a click on it asks again and says why
  }
}

function compareWith(value) {
  const id = value.startsWith("picture:") ? Number(value.slice("picture:".length)) : null;
  other = pictures.find((each) => each.id === id) ?? null;
  return change({ with: other ? "" : value });
}

function findClass(text) {
  const [{ answer }] = shown;
  const index = answer.model.labels.findIndex((label) => label.toLowerCase() === text.trim().toLowerCase());
  const unknown = text && index < 0 ? new Error(`${answer.model.name} knows no class “${text}”`) : null;
  sayError(find("class-error"), unknown);
  if (index >= 0) pickClass(shown[0], index, false);
}

function watch() {
  for (const id of ["pictures", "strip", "groups"]) walkable(find(id));
  watchSources(take);
  watchControls(change, (step) => {
    Object.assign(view, step);
    writeView(view, false);
    showControls(view, shown[0].answer.kind);
    drawMaps(shown, view);
  });
  watchCopying();
  find("model").addEventListener("change", ({ target }) =>
    change({ model: target.value, version: "", class: "", minus: "", block: "", group: "mean", kind: "" }),
  );
  find("version").addEventListener("change", ({ target }) => change({ version: target.value }));
  find("with").addEventListener("change", ({ target }) => compareWith(target.value));
  find("find-class").addEventListener("change", ({ target }) => findClass(target.value));
  find("more-classes").addEventListener("click", () => change({ classes: String(Math.min(1000, 5 * view.classes)) }));
  find("all-groups").addEventListener("click", () => change({ groups: "9999" }));
  find("again").addEventListener("click", () => {
    forget();
    refresh();
  });
  window.addEventListener("popstate", () => {
    view = readView(location.search);
    picture = pictures.findLast(({ name, isExample }) => (view.picture ? name === view.picture : isExample)) ?? picture;
    refresh(false);
  });
}

async function start() {
  watch();
  try {
    ({ models } = await listModels());
    offerModels(models);
    picture = await openExample();
    pictures = [picture];
    await refresh(false);
  } catch (error) {
    sayError(find("error"), error);
  }
}

await start();
