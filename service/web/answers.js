// What the service said of pictures: each question is asked once, and kept while the page is open.

import { byIndex, describeModel, predict } from "./api.js";
import { nameOf } from "./labels.js";
import { bytesOf, mapsOf } from "./npy.js";
import { commonLimit } from "./scales.js";

const BEST = 5; // classes whose evidence comes with the first answer
const ROOM = 2; // other pictures may have more evidence than the example
const kept = new Map();
const limits = new Map();

// Everything of a picture by a model version: classes, evidence for the best, the mean of every block.
// Without a version: the latest one; without a kind: what says something for this model.
export function answerTo(picture, { name, version, kind, classes }, signal) {
  const key = [picture.id, name, version, kind, classes].join(" ");
  return once(kept, key, () => firstAnswer(picture, { name, version, kind, classes }, signal));
}

export function forget() {
  kept.clear();
}

async function once(store, key, ask) {
  if (!store.has(key)) store.set(key, await ask());
  return store.get(key);
}

async function firstAnswer(picture, { name, version, kind, classes }, signal) {
  const before = await describeModel(name, version);
  const shown = kind || (before.sge_inserted ? "similarity" : "gate");
  const query = {
    model: before.name,
    version: before.version,
    top_k: Math.min(classes, before.labels.length),
    attribution: bestOf(before),
    masks: "all",
    groups: "mean",
    mask_kind: shown,
    mask_format: "npy",
    input: "true",
  };
  const asked = performance.now();
  const answer = await predict(picture.file, query, signal);
  const took = performance.now() - asked;
  const model = await describeModel(before.name, before.version).catch(() => before); // its tier now
  return {
    picture,
    model,
    kind: shown,
    took,
    engine: answer.engine,
    batch: answer.batch_size,
    timing: answer.timing_ms,
    predictions: answer.result.predictions.map((each) => named(each, before)),
    input: await bitmapOf(answer.result.input),
    evidence: new Map(evidenceIn(answer, before)),
    strip: answer.result.masks.map((mask) => ({ block: mask.block, map: mapsOf(mask.data)[0] })),
    blocks: new Map(),
  };
}

const bestOf = ({ labels }) => `top:${Math.min(BEST, labels.length)}`;

function bitmapOf(base64) {
  return createImageBitmap(new Blob([bytesOf(base64)], { type: "image/png" }));
}

const named = (each, model) => ({ ...each, label: nameOf(model, each.index) });

function evidenceIn({ result }, model) {
  const maps = mapsOf(result.attribution.data);
  return result.attribution.classes.map((each, at) => [each.index, { ...named(each, model), map: maps[at] }]);
}

const asking = ({ model }) => ({ model: model.name, version: model.version, mask_format: "npy" });

// The evidence for a class, asked for where it did not come with the answer.
export async function evidenceFor(answer, index, signal) {
  return once(answer.evidence, index, async () => {
    const query = { ...asking(answer), top_k: 1, attribution: byIndex([index]) };
    const [[given, evidence]] = evidenceIn(await predict(answer.picture.file, query, signal), answer.model);
    if (given !== index) throw new Error(`asked for class ${index}, the service answered for ${given}`);
    return evidence;
  });
}

// How far the fixed scale of a model version's evidence goes: by the example, which is everyone's.
export async function evidenceLimit(example, model, signal) {
  return once(limits, `${model.name}:${model.version}`, async () => {
    const query = { ...asking({ model }), top_k: 1, attribution: bestOf(model) };
    const evidence = evidenceIn(await predict(example.file, query, signal), model);
    return commonLimit(evidence.map(([, { map }]) => map), ROOM);
  });
}

// Groups of a block, `groups` as the API takes it: [{ group, map }].
export async function groupsOf(answer, block, groups, signal) {
  return once(answer.blocks, `${block} ${groups}`, async () => {
    const query = { ...asking(answer), top_k: 1, masks: block, groups, mask_kind: answer.kind };
    const [mask] = (await predict(answer.picture.file, query, signal)).result.masks;
    return mapsOf(mask.data).map((map, at) => ({ group: mask.groups[at], map }));
  });
}

// One group's map, of an open block or asked for.
export async function groupOf(answer, block, id, signal) {
  const known = [...answer.blocks].filter(([key]) => key.startsWith(`${block} `)).flatMap(([, groups]) => groups);
  const found = known.find(({ group }) => group === id) ?? (await groupsOf(answer, block, String(id), signal))[0];
  return found.map;
}
