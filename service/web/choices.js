// The lists to choose from: models, their versions, and what to compare with.

import { element, find } from "./dom.js";
import { namesOf } from "./labels.js";

// The models that there are, and the one that a view names or, where there is none of that name, the default.
export function offerModels(models) {
  find("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
}

export function offerVersions({ name, version, versions }) {
  find("model").value = name;
  find("version").replaceChildren(...[...versions].map((each) => new Option(each, each)).reverse());
  find("version").value = version;
  find("versions").hidden = versions.length === 1;
}

export function offerClasses(model) {
  find("labels").replaceChildren(...namesOf(model).map((value) => element("option", { value })));
}

// Other pictures as `picture:ID`, other versions of all models as `NAME:VERSION`.
export function offerOthers(models, pictures, [shown, other], view) {
  const served = models.flatMap(({ name, versions: each }) => each.map((version) => `${name}:${version}`));
  const own = `${shown.answer.model.name}:${shown.answer.model.version}`;
  const versions = new Set(served.filter((each) => each !== own));
  if (view.with) versions.add(view.with); // though it may not be served
  find("with").replaceChildren(
    new Option("nothing", ""),
    group("another picture", pictures.filter((each) => each !== shown.answer.picture).map(optionOf)),
    group("another model or version", [...versions].map((each) => new Option(each.replace(":", " version "), each))),
  );
  const beside = other?.answer.picture;
  find("with").value = beside && beside !== shown.answer.picture ? `picture:${beside.id}` : view.with;
  find("comparing").hidden = find("with").options.length === 1;
}

const optionOf = (picture) => new Option(picture.name, `picture:${picture.id}`);

function group(label, options) {
  return element("optgroup", { label, hidden: options.length === 0 }, ...options);
}
