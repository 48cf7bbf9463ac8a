// What classes are called: by their labels, and by their numbers, too, where several share a label.

const known = new WeakMap(); // a model's labels -> the classes of each

// The classes of a model that have a label.
function classesOf({ labels }, label) {
  if (!known.has(labels)) known.set(labels, Map.groupBy(labels.keys(), (index) => labels[index]));
  return known.get(labels).get(label) ?? [];
}

export function nameOf(model, index) {
  const label = model.labels[index];
  return classesOf(model, label).length > 1 ? `${label} (class ${index})` : label;
}

export const namesOf = (model) => model.labels.map((_, index) => nameOf(model, index));

// The class that a person names, however it is written where that is clear.
export function classCalled(text, model) {
  const names = namesOf(model);
  const asName = names.indexOf(text);
  if (asName >= 0) return asName;
  const small = text.toLowerCase();
  const found = [...model.labels.keys()].filter((index) => model.labels[index].toLowerCase() === small);
  if (found.length === 1) return found[0];
  if (!found.length) throw new Error(`${model.name} knows no class “${text}”`);
  throw new Error(`several classes are called “${text}”: ${found.map((index) => names[index]).join(", ")}`);
}

// A class's number in another model: by its name where numbers mean different things.
export function sameClass(index, from, to) {
  const label = from.labels[index];
  if (label === to.labels[index]) return index;
  const found = classesOf(to, label);
  if (found.length === 1 && classesOf(from, label).length === 1) return found[0];
  throw new Error(`${to.name} version ${to.version} has ${found.length || "no"} ${found.length > 1 ? "classes" : "class"} ${label}`);
}
