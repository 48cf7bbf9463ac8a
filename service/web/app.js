// The page: pictures go to POST /v1/predict, and what the answers show is drawn. No build step, no library.

import { forget, groupsOf } from "./answers.js";
import { listModels } from "./api.js";
import { FIRST, groupTiles, groupsWanted } from "./block.js";
import { offerClasses, offerModels, offerOthers, offerVersions } from "./choices.js";
import { moreThan } from "./classes.js";
import { showControls, watchControls } from "./controls.js";
import { watchCopying } from "./copying.js";
import { answerQuietly, change, desk, refresh } from "./desk.js";
import { find, refill, sayError, walkable } from "./dom.js";
import { classCalled, sameClass } from "./labels.js";
import { lackedNames, openExample, openPicture, picturesOf } from "./pictures.js";
import { drawBlockHead, drawMaps, drawSides, drawSnippets, drawStrips, drawWords } from "./scene.js";
import { watchSources } from "./sources.js";
import { thumbnailOf } from "./thumbnails.js";
import { ofModel, readView, writeView } from "./view.js";

const MOST_PICTURES = 48; // kept on the page

// -- what is shown

async function draw(signal) {
  const { models, pictures, shown, view } = desk;
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
  const lacked = lackedNames(view, pictures);
  find("lost").hidden = !lacked.length;
  find("lost").textContent = `This view is of ${lacked.join(" and ")}, which no link can hold: pick or drop to see it here.`;
  find("answer").hidden = false;
  if (signal) await showBlock(signal);
}

function drawThumbnails() {
  const { pictures, shown } = desk;
  refill(find("pictures"), pictures.map((each) => thumbnailOf(each, each === shown[0]?.answer.picture, look)));
}

// The groups of an open block; what goes wrong is said there.
async function showBlock(signal) {
  const { shown, view } = desk;
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

// Another model: what it would take the other pictures for is not known.
function askAnother(step) {
  for (const each of desk.pictures) each.said = "";
  return change(step);
}

// Look at a picture; if it stood beside another one, that one stands beside it now.
function look(each) {
  if (each === desk.other) desk.other = desk.picture;
  desk.picture = each;
  const names = { picture: each.isExample ? "" : each.name, beside: desk.other?.name ?? "" };
  return change({ ...names, class: "", minus: "" });
}

// Look at the pictures that the view names.
function lookAsNamed() {
  Object.assign(desk, picturesOf(desk.view, desk.pictures));
  return refresh(false);
}

function pickClass({ answer }, index, isLess) {
  const [main] = desk.shown;
  sayError(find("class-error"), null);
  let number;
  try {
    number = sameClass(index, answer.model, main.answer.model);
  } catch (error) {
    return sayError(find("class-error"), error);
  }
  const [first, second] = main.layer.classes ?? [];
  if (!isLess) return change({ show: "evidence", class: String(number), minus: "" });
  if (number === first) return null;
  return change({ show: "evidence", class: String(first ?? number), minus: number === second ? "" : String(number) });
}

function openBlock(name) {
  const { view } = desk;
  const isOpen = view.block === name && view.show === "attention" && view.group === "mean";
  return change(isOpen ? { block: "" } : { block: name, group: "mean", groups: String(FIRST), show: "attention" });
}

function pickGroup(group) {
  return change({ show: "attention", group: String(group), frame: "original" });
}

// Look at the first of new pictures that is answered, and answer the others meanwhile.
async function take(files) {
  const room = Math.max(0, MOST_PICTURES - desk.pictures.length);
  const fresh = await Promise.all(files.slice(0, room).map((file) => openPicture(file)));
  const lacked = lackedNames(desk.view, desk.pictures);
  desk.pictures.push(...fresh);
  const isAwaited = fresh.some(({ name }) => lacked.includes(name)); // of a link, the rest of which holds
  let isLookedAt = isAwaited && (await lookAsNamed());
  const refused = [];
  for (const each of fresh) {
    const why = isLookedAt ? await answerQuietly(each) : "";
    if (!isLookedAt) isLookedAt = await look(each);
    if (each.said === "not answered") refused.push(why || find("error").textContent);
    drawThumbnails();
  }
  if (files.length > room) refused.push(`The page keeps ${MOST_PICTURES} pictures; reload it to begin anew.`);
  if (refused.length) sayError(find("error"), new Error(refused.join(" ")));
}

function compareWith(value) {
  const id = value.startsWith("picture:") ? Number(value.slice("picture:".length)) : null;
  desk.other = desk.pictures.find((each) => each.id === id) ?? null;
  return change({ beside: desk.other?.name ?? "", with: desk.other ? "" : value });
}

function findClass(text) {
  const [side] = desk.shown;
  sayError(find("class-error"), null);
  if (!text.trim()) return;
  try {
    pickClass(side, classCalled(text.trim(), side.answer.model), false);
  } catch (error) {
    sayError(find("class-error"), error);
  }
}

function watch() {
  for (const id of ["pictures", "strip", "groups"]) walkable(find(id));
  watchSources(take);
  watchControls(change, (step) => {
    const { shown, view } = desk;
    Object.assign(view, step);
    writeView(view, false);
    showControls(view, shown[0].answer.kind);
    drawMaps(shown, view);
  });
  watchCopying();
  find("model").addEventListener("change", ({ target }) => askAnother(ofModel(target.value)));
  find("version").addEventListener("change", ({ target }) => askAnother({ version: target.value }));
  find("with").addEventListener("change", ({ target }) => compareWith(target.value));
  find("find-class").addEventListener("change", ({ target }) => findClass(target.value));
  find("more-classes").addEventListener("click", () => change({ classes: String(moreThan(desk.view.classes)) }));
  find("all-groups").addEventListener("click", async () => {
    const [{ groups }] = desk.shown[0].answer.model.blocks;
    await change({ groups: String(groups) });
    find("groups").querySelectorAll("button")[FIRST]?.focus();
  });
  find("again").addEventListener("click", () => {
    forget();
    refresh();
  });
  window.addEventListener("popstate", () => {
    desk.view = readView(location.search);
    lookAsNamed();
  });
}

async function start() {
  desk.draw = draw;
  watch();
  try {
    desk.models = (await listModels()).models;
    offerModels(desk.models);
    desk.pictures = [await openExample()];
    await lookAsNamed();
  } catch (error) {
    sayError(find("error"), error);
  }
}

await start();
