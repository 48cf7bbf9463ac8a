// The mean map of every block, in the network's order, stage by stage.

import { element } from "./dom.js";
import { drawMap } from "./maps.js";
import { scaleBar } from "./scalebar.js";
import { rangeOf } from "./scales.js";

const TILE_PX = 112;

// One list a stage. `open` is called with a block's name.
export function stagesOf(answer, view, open) {
  const stages = new Map();
  for (const each of answer.strip) {
    const [number] = each.block.match(/\d+/);
    stages.set(number, [...(stages.get(number) ?? []), each]);
  }
  return [...stages].map(([number, blocks]) => stageOf(number, blocks, answer, view, open));
}

function stageOf(number, blocks, { kind }, view, open) {
  const [{ map }] = blocks;
  const tiles = blocks.map((each) =>
    tileOf(each.map, kind, view, {
      name: each.block,
      label: `${each.block}, mean ${kind}`,
      isPressed: view.block === each.block,
      onclick: () => open(each.block),
    }),
  );
  const heading = element("h3", {}, `Stage ${number}`, element("span", { className: "quiet" }, ` ${map.height} × ${map.width}`));
  return element("div", { className: "stage" }, heading, element("div", { className: "tiles" }, ...tiles));
}

// A button with a small map, its scale and its name.
export function tileOf(map, kind, view, { name, more = "", label, isPressed, onclick }) {
  const isFixed = view.scale === "fixed";
  const range = rangeOf(map, kind, isFixed);
  const side = Math.max(TILE_PX, map.width);
  const canvas = drawMap(element("canvas", { ariaHidden: "true" }), map, range, side, side, view.smooth === "on");
  return element(
    "button",
    { type: "button", className: "stop tile", ariaPressed: String(isPressed), ariaLabel: label, onclick },
    canvas,
    element("span", { className: "name" }, name),
    more ? element("span", { className: "quiet name" }, more) : "",
    scaleBar(range, map, { isFixed }),
  );
}
