// What is looked at and what was answered; from a view to what it shows.

import { answerTo } from "./answers.js";
import { percent } from "./classes.js";
import { find, sayError, wordsOf } from "./dom.js";
import { layerOf } from "./layers.js";
import { readView, writeView } from "./view.js";

export const desk = {
  view: readView(location.search),
  models: [],
  pictures: [],
  picture: null, // that is looked at
  other: null, // that it is compared with
  shown: [], // one side or two, each an answer and the layer over it
  draw: async () => {}, // draws what is shown; with a signal, asks for what an open block needs, too
};

let good = null; // the view and the picture of what is shown
let running = new AbortController(); // of the newest question; an older one is given up

// Take a step of a person's.
export function change(step) {
  Object.assign(desk.view, step);
  return refresh();
}

// Show what the view asks for; tells whether it could, or a later step has taken its place.
export async function refresh(isStep = true) {
  running.abort();
  const { signal } = (running = new AbortController());
  find("main").ariaBusy = "true";
  try {
    const { view, picture } = desk;
    const main = await sideOf(picture, view.model, view.version, null, signal);
    const second = await secondSide(main, signal);
    if (signal.aborted) return true;
    desk.shown = second ? [main, second] : [main];
    (desk.other && second ? [main, second] : [main]).forEach(note);
    good = { view: { ...view }, picture };
    sayError(find("error"), null);
    writeView(view, isStep);
    await desk.draw(signal);
    return true;
  } catch (error) {
    if (!signal.aborted) giveUp(error);
    return signal.aborted;
  } finally {
    if (!signal.aborted) find("main").ariaBusy = "false";
  }
}

// Say an error and go back to the last view that was answered.
function giveUp(error) {
  const { picture } = desk;
  error.message = (picture && !picture.isExample ? `${picture.name}: ` : "") + error.message;
  sayError(find("error"), error);
  if (!good && error.waitS) setTimeout(() => refresh(false), error.waitS * 1000); // it is just starting
  if (!good) return;
  if (picture !== good.picture) picture.said = "not answered";
  desk.view = { ...good.view };
  desk.picture = good.picture;
  desk.draw(null);
}

async function sideOf(picture, name, version, asked, signal) {
  const { models, view } = desk;
  const named = models.some((model) => model.name === name) ? name : defaultModel(models);
  const wanted = { name: named, version, kind: view.kind, classes: Number(view.classes) };
  const answer = await answerTo(picture, wanted, signal);
  return { answer, layer: await layerOf(answer, view, asked ?? answer.model, signal) };
}

const defaultModel = (models) => (models.find((model) => model.default) ?? models[0]).name;

// What the picture is compared with, if with anything; where that fails the picture is shown alone.
async function secondSide({ answer }, signal) {
  const { other, view, picture } = desk;
  const { name, version } = answer.model;
  const colon = view.with.lastIndexOf(":");
  sayError(find("with-error"), null);
  if (!other && !view.with) return null;
  try {
    return other
      ? await sideOf(other, name, version, answer.model, signal)
      : await sideOf(picture, view.with.slice(0, colon), view.with.slice(colon + 1), answer.model, signal);
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
    note(await sideOf(picture, model, version, null, undefined));
    return "";
  } catch (error) {
    picture.said = "not answered";
    return `${picture.name}: ${wordsOf(error)}`;
  }
}
