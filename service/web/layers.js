// Which map lies over a picture, and what is to be said of it.

import { evidenceFor, groupOf } from "./answers.js";
import { sameClass } from "./labels.js";
import { difference } from "./maps.js";
import { meanOf, shortNumber, spreadOf } from "./scales.js";

// The map that a view asks for of an answer: { map, kind, title, note }. Numbers of classes are those
// of the model `asked`.
export function layerOf(answer, view, asked, signal) {
  return view.show === "evidence"
    ? evidenceLayer(answer, view, asked, signal)
    : attentionLayer(answer, view, asked, signal);
}

async function evidenceLayer(answer, view, asked, signal) {
  const { model, predictions } = answer;
  const index = view.class === "" ? predictions[0].index : sameClass(Number(view.class), asked, model);
  const forIt = await evidenceFor(answer, index, signal);
  if (view.minus === "") return single(forIt);
  return contrast(forIt, await evidenceFor(answer, sameClass(Number(view.minus), asked, model), signal));
}

function single({ index, label, logit, bias, map }) {
  return {
    map,
    kind: "evidence",
    classes: [index],
    title: `Evidence for ${label}`,
    note:
      `Orange to red speaks for ${label}, blue against it. The map's mean ${shortNumber(meanOf(map))} and the ` +
      `bias ${shortNumber(bias)} make the logit ${shortNumber(logit)}.`,
  };
}

function contrast(one, other) {
  return {
    map: difference(one.map, other.map),
    kind: "evidence",
    classes: [one.index, other.index],
    title: `Evidence for ${one.label} rather than ${other.label}`,
    note:
      `Orange to red speaks for ${one.label}, blue for ${other.label}. The logits differ by ` +
      `${shortNumber(one.logit - other.logit)}, ${shortNumber(one.bias - other.bias)} of it by their biases.`,
  };
}

async function attentionLayer(answer, view, asked, signal) {
  const { kind, strip, model } = answer;
  const open = strip.find(({ block }) => block === view.block);
  if (view.block && !open && model !== asked) {
    throw new Error(`${model.name} version ${model.version} has no block ${view.block}`);
  }
  const mean = open ?? strip.at(-1);
  const said = kind === "gate" ? "gate" : "similarity";
  if (view.group === "mean") {
    return layer(mean.map, kind, `Mean ${said} of ${mean.block}`, mean.block, "mean");
  }
  const id = Number(view.group);
  const map = await groupOf(answer, mean.block, id, signal);
  return layer(map, kind, `${said === "gate" ? "Gate" : "Similarity"} of group ${id} of ${mean.block}`, mean.block, id);
}

function layer(map, kind, title, block, group) {
  const spread = `It spreads by ${shortNumber(spreadOf(map))} (standard deviation) over the positions.`;
  const meaning =
    kind === "gate"
      ? "What multiplies the features: where it is large the network enhances, whatever the class."
      : "How much a position is like the group's mean, in standard deviations: what gates are made from.";
  return { map, kind, title, note: `${meaning} ${spread}`, block, group };
}
