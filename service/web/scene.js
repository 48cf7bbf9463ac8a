// Draws what was answered into the page.

import { blockWords } from "./block.js";
import { MOST, classRows, percent } from "./classes.js";
import { element, find, refill, walkable } from "./dom.js";
import { drawPicture, paneFigure } from "./pane.js";
import { rangeOf } from "./scales.js";
import { curlOf, pythonOf } from "./snippets.js";
import { stagesOf } from "./strip.js";

const TIERS = {
  loading: "loading",
  first: "a faster engine is being built",
  fallback: "the faster engine cannot run",
  restarting: "restarting",
};

// One side's picture and classes, or two beside one another. `pick` gets a side, a class's number and
// whether it is taken away from the other.
export function drawSides(sides, view, pick) {
  const limit = limitOf(sides);
  const boxes = find("sides");
  boxes.classList.toggle("two", sides.length > 1);
  while (boxes.children.length > sides.length) boxes.lastChild.remove();
  while (boxes.children.length < sides.length) boxes.append(emptySide());
  sides.forEach((side, at) => fillSide(boxes.children[at], side, limit, view, { sides, pick }));
}

// Two sides share the fixed scale of evidence, so that they compare.
const limitOf = (sides) => Math.max(...sides.map(({ limit }) => limit));

function emptySide() {
  const list = element("ol", { className: "classes", ariaLabel: "Classes" });
  walkable(list);
  return element("div", { className: "side" }, element("div", { className: "look" }), list);
}

function fillSide(box, side, limit, view, { sides, pick }) {
  const { answer, layer } = side;
  const [look, list] = box.children;
  const range = rangeOf(layer.map, layer.kind, view.scale === "fixed", limit);
  const title = sides.length > 1 ? sideTitle(answer) : "";
  look.replaceChildren(paneFigure(answer, layer, range, view, title));
  refill(list, classRows(answer, layer, (index, isLess) => pick(side, index, isLess)));
}

function sideTitle({ picture, model, predictions: [{ label, score }] }) {
  return `${picture.name}, ${model.name} version ${model.version}: ${label}, ${percent(score)}`;
}

// Lay the maps over the pictures anew, and leave the rest: while the opacity moves.
export function drawMaps(sides, view) {
  const limit = limitOf(sides);
  sides.forEach(({ answer, layer }, at) => {
    const canvas = find("sides").children[at].querySelector("canvas");
    drawPicture(canvas, answer, layer, rangeOf(layer.map, layer.kind, view.scale === "fixed", limit), view);
  });
}

// The strip of blocks of each side.
export function drawStrips(sides, view, open) {
  const [{ answer }] = sides;
  const strips = sides.flatMap((side) => [
    sides.length > 1 ? element("h3", {}, sideTitle(side.answer)) : "",
    element("div", { className: "stages" }, ...stagesOf(side.answer, view, open)),
  ]);
  refill(find("strip"), strips);
  const isInserted = answer.model.sge_inserted;
  find("inserted").hidden = !isInserted;
  find("flat").textContent =
    answer.kind === "gate"
      ? "So every gate is the same number, and these maps are flat: the similarity says more."
      : "So every gate is the same number and would say nothing: shown is the similarity behind it.";
}

export function drawBlockHead(answer, view) {
  const block = answer.model.blocks.find(({ name }) => name === view.block);
  find("block").hidden = !block;
  if (!block) return null;
  const isAll = Number(view.groups) >= block.groups;
  find("block-words").textContent = blockWords(answer, block, Math.min(Number(view.groups), block.groups));
  find("all-groups").hidden = isAll;
  find("all-groups").textContent = `Show all ${block.groups} groups`;
  return block;
}

// What was answered, in how long, by what.
export function drawWords(sides) {
  const [{ answer }] = sides;
  const [{ label, score }] = answer.predictions;
  find("status").textContent = `${label}, ${percent(score)}`;
  find("times").replaceChildren(...sides.map((side) => element("span", {}, timesOf(side.answer))));
  find("engine").textContent = engineOf(answer.model);
  find("example").hidden = !answer.picture.isExample;
  find("more-classes").hidden = answer.predictions.length >= Math.min(MOST, answer.model.labels.length);
}

function timesOf({ timing, batch, engine, took }) {
  const phases = Object.entries(timing).map(([phase, ms]) => `${phase} ${ms.toFixed(1)} ms`);
  const images = `batch of ${batch}`;
  return [...phases, `${took.toFixed(0)} ms with the way there and back`, images, `engine ${engine}`].join(" · ");
}

function engineOf({ name, version, engine }) {
  const note = TIERS[engine.tier] ? ` (${TIERS[engine.tier]})` : "";
  return `${name} version ${version}, engine ${engine.name}${note}, ${engine.precision} on ${engine.device}`;
}

export function drawSnippets(sides) {
  find("curl").textContent = sides.map(curlOf).join("\n");
  find("python").textContent = sides.map(pythonOf).join("\n");
  for (const said of document.querySelectorAll(".copied")) said.textContent = "";
}
