// What is looked at and what was answered; from a view to what it shows.

import { answerTo, evidenceLimit } from "./answers.js";
import { offerVersions } from "./choices.js";
import { percent } from "./classes.js";
import { find, sayError, wordsOf } from "./dom.js";
import { fitting } from "./fitting.js";
import { layerOf } from "./layers.js";
import { ofModel, readView, writeView } from "./view.js";

export const desk = {
  view: readView(location.search),
  models: [],
  pictures: [],
  picture: null, // that is looked at
  other: null, // that it is compared with
  shown: [], // one side or two, each an answer and the layer over it
  draw: async () => {}, // draws what is shown; with a signal, asks for what an open block needs, too
};

let good = null; // the view and the pictures of what is shown
let running = new AbortController(); // of the newest question; an older one is given up

// Take a step of a person's.
export function change(step) {
  Object.assign(desk.view, step);
  return refresh();
}

// Show what the view asks for, and say what was wrong with it; tells whether it could, or a later step
// has taken its place.
export async function refresh(isStep = true, said = "") {
  running.abort();
  const { signal } = (running = new AbortController());
  find("main").ariaBusy = "true";
  try {
    const { view, picture, other } = desk;
    const answer = await answerOf(picture, view.model, view.version, signal);
    if (signal.aborted) return true;
    const { step, words } = fitting(view, answer.model);
    Object.assign(view, step);
    const main = await sideOf(answer, answer.model, signal);
    const second = await secondSide(main, signal);
    if (signal.aborted) return true;
    desk.shown = second ? [main, second] : [main];
    (other && second ? [main, second] : [main]).forEach(note);
    good = { view: { ...view }, picture, other };
    const wrong = [said, words].filter(Boolean).join(" ");
    sayError(find("error"), wrong ? new Error(wrong) : null);
    writeView(view, isStep);
    await desk.draw(signal);
    return true;
  } catch (error) {
    return signal.aborted || giveUp(error, said);
  } finally {
    if (!signal.aborted) find("main").ariaBusy = "false";
  }
}

// Say an error and go back to the last view that was answered, or to the nearest that can be; tells whether.
function giveUp(error, said) {
  const { picture } = desk;
  if (!good && picture.isExample) return begin(error, said);
  error.message = (picture.isExample ? "" : `${picture.name}: `) + error.message;
  sayError(find("error"), error);
  if (picture !== good?.picture) picture.said = "not answered";
  if (!good) return false;
  Object.assign(desk, good, { view: { ...good.view } });
  desk.draw(null);
  return false;
}

// Where nothing was answered yet: wait while the service starts; else leave out the version or the model
// that a link names.
function begin(error, said) {
  const { models, view } = desk;
  const model = models.find(({ name }) => name === view.model);
  sayError(find("error"), said ? new Error(said) : error);
  offerVersions({ version: view.version, ...(model ?? defaultModel(models)) });
  if (error.waitS) setTimeout(() => refresh(false, said), error.waitS * 1000);
  if (error.waitS || !(view.model || view.version)) return false;
  Object.assign(view, model && view.version ? { version: "" } : ofModel(""));
  return refresh(false, said || wordsOf(error));
}

function answerOf(picture, name, version, signal) {
  const { models, view } = desk;
  const wanted = { name: name || defaultModel(models).name, version, kind: view.kind, classes: Number(view.classes) };
  return answerTo(picture, wanted, signal);
}

// Numbers of classes in the view are those of the model `asked`.
async function sideOf(answer, asked, signal) {
  const { pictures, view } = desk;
  const layer = await layerOf(answer, view, asked, signal);
  const isFixed = view.scale === "fixed" && layer.kind === "evidence";
  const example = pictures.find(({ isExample }) => isExample);
  return { answer, layer, limit: isFixed ? await evidenceLimit(example, answer.model, signal) : 0 };
}

const defaultModel = (models) => models.find((model) => model.default) ?? models[0];

// What the picture is compared with, if with anything; where that fails the picture is shown alone.
async function secondSide({ answer }, signal) {
  const { other, view, picture } = desk;
  const { model } = answer;
  const [name, version] = other ? [model.name, model.version] : view.with.split(":");
  sayError(find("with-error"), null);
  if (!other && !view.with) return null;
  try {
    return await sideOf(await answerOf(other ?? picture, name, version, signal), model, signal);
  } catch (error) {
    if (!signal.aborted) sayError(find("with-error"), error);
    return null;
  }
}

// What a picture was taken for, below its thumbnail.
function note({ answer }) {
  const [{ label, score }] = answer.predictions;
  answer.picture.said = `${label}, ${percent(score)}`;
}

// Answer a picture that nobody looks at yet; returns why it could not be. A click on it asks again.
export async function answerQuietly(picture) {
  const { model, version } = desk.view;
  try {
    note({ answer: await answerOf(picture, model, version) });
    return "";
  } catch (error) {
    picture.said = "not answered";
    return `${picture.name}: ${wordsOf(error)}`;
  }
}
