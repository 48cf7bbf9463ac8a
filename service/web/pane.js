// One picture with a map over it, its scale, and what is to be said of both.

import { element } from "./dom.js";
import { squareOf } from "./geometry.js";
import { drawMap } from "./maps.js";
import { scaleBar } from "./scalebar.js";
import { shortNumber } from "./scales.js";

const SIDE_PX = 448; // on which the model's square is drawn, at least
const CRISP = 3; // a picture enlarged more than this shows its pixels

// The figure of an answer and its layer; `title` says whose it is where there are two.
export function paneFigure(answer, layer, range, view, title) {
  const isFixed = view.scale === "fixed";
  const canvas = element("canvas", { role: "img", ariaLabel: `${layer.title}, over ${answer.picture.name}` });
  const reading = element("p", { className: "reading quiet", ariaHidden: "true" }, " ");
  const square = drawPicture(canvas, answer, layer, range, view);
  canvas.addEventListener("pointermove", (event) => {
    reading.textContent = readingAt(canvas, square, layer.map, event) || " ";
  });
  return element(
    "figure",
    { className: "pane" },
    title ? element("h3", {}, title) : "",
    canvas,
    element("figcaption", {}, element("strong", {}, layer.title)),
    scaleBar(range, layer.map, { isFixed, isLong: true }),
    element("p", { className: "note" }, layer.note),
    reading,
    element("p", { className: "quiet caption" }, captionOf(answer, layer, view)),
  );
}

// Draw the picture and the map; returns where the model's square lies on the canvas.
export function drawPicture(canvas, answer, layer, range, view) {
  const { input, picture, model } = answer;
  const source = isOriginal(answer, view) ? picture.canvas : input;
  const grow = Math.max(1, SIDE_PX / Math.max(source.width, source.height));
  canvas.width = Math.round(source.width * grow);
  canvas.height = Math.round(source.height * grow);
  const whole = { x: 0, y: 0, width: canvas.width, height: canvas.height };
  const square = source === input ? whole : squareOf(model.input, canvas.width, canvas.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = grow < CRISP;
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  layMap(context, square, layer.map, range, view);
  if (source !== input) outline(context, square);
  return square;
}

export const isOriginal = ({ picture }, view) => view.frame === "original" && picture.canvas !== null;

function layMap(context, { x, y, width, height }, map, range, view) {
  const [across, down] = [Math.round(width), Math.round(height)];
  const fading = { ...range, isFading: range.low < 0 };
  const heat = drawMap(document.createElement("canvas"), map, fading, across, down, view.smooth === "on");
  context.globalAlpha = view.opacity / 100;
  context.drawImage(heat, x, y, width, height);
  context.globalAlpha = 1;
}

// What the model saw of the original: light on dark, to be seen on any picture.
function outline(context, { x, y, width, height }) {
  for (const [style, dash] of [["#000", []], ["#fff", [6, 6]]]) {
    context.strokeStyle = style;
    context.lineWidth = 2;
    context.setLineDash(dash);
    context.strokeRect(x + 1, y + 1, width - 2, height - 2);
  }
}

function readingAt(canvas, square, map, { offsetX, offsetY }) {
  const x = (offsetX * canvas.width) / canvas.clientWidth - square.x;
  const y = (offsetY * canvas.height) / canvas.clientHeight - square.y;
  const column = Math.floor((x / square.width) * map.width);
  const row = Math.floor((y / square.height) * map.height);
  if (column < 0 || row < 0 || column >= map.width || row >= map.height) return "";
  const number = shortNumber(map.numbers[row * map.width + column]);
  return `Here (row ${row + 1}, column ${column + 1}): ${number}`;
}

function captionOf(answer, { map, kind }, view) {
  const { picture, model } = answer;
  const size = model.input.size_px;
  const cell = `${map.height} × ${map.width} cells of ${shortNumber(size / map.width)} px`;
  const drawn = view.smooth === "on" ? "smoothed between their middles" : "drawn as they are";
  const fades = kind === "gate" ? "" : " Near 0 the picture shows through.";
  const whole = picture.canvas ? `, ${picture.canvas.whole}` : ", which this browser cannot show";
  const seen = isOriginal(answer, view)
    ? "the original; the dashed square is what the model saw"
    : `as the model saw it, ${size} × ${size} px`;
  return `${picture.name}${whole}; ${seen}. The map has ${cell}, ${drawn}.${fades}`;
}
