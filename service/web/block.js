// The groups of an open block, liveliest first.

import { tileOf } from "./strip.js";
import { shortNumber, spreadOf } from "./scales.js";

export const FIRST = 8; // groups shown before a person asks for all

// As the API takes it: the liveliest, or all of them in that order. Of similarity every group has the same
// spread, so it is the spread of the gates that orders them.
export function groupsWanted({ groups }, blockShape) {
  return `top:${Math.min(Number(groups), blockShape.groups)}`;
}

// `pick` is called with a group's number.
export function groupTiles(groups, kind, view, pick) {
  return groups.map(({ group, map }) =>
    tileOf(map, kind, view, {
      name: `group ${group}`,
      more: `spread ${shortNumber(spreadOf(map))}`,
      label: `group ${group}, spread ${shortNumber(spreadOf(map))}`,
      isPressed: view.show === "attention" && view.group === String(group),
      onclick: () => pick(group),
    }),
  );
}

export function blockWords(answer, { name, groups, height, width }, count) {
  const order = "sorted by how far their gates spread over the positions";
  const shown = count < groups ? `the ${count} liveliest of ${groups} groups` : `all ${groups} groups`;
  return `${name}, ${height} × ${width} positions: ${shown}, ${order}. A click lays one over the original picture.`;
}
