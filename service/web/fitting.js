// A view as a model can show it: a link may name what the model does not have, or has no longer.

// What is to be changed in a view, and the words for it; nothing where all of it is there.
export function fitting(view, { name, version, labels, blocks }) {
  const step = {};
  const lacks = [];
  for (const field of ["class", "minus"]) {
    if (view[field] === "" || Number(view[field]) < labels.length) continue;
    lacks.push(`no class ${view[field]}, only 0 to ${labels.length - 1}`);
    step[field] = "";
  }
  if (step.class === "") step.minus = ""; // rather than what?
  const block = view.block ? blocks.find((each) => each.name === view.block) : blocks.at(-1);
  if (!block) {
    lacks.push(`no block ${view.block}`);
    Object.assign(step, { block: "", group: "mean" });
  } else if (view.group !== "mean" && Number(view.group) >= block.groups) {
    lacks.push(`no group ${view.group} in ${block.name}, only 0 to ${block.groups - 1}`);
    step.group = "mean";
  }
  return { step, words: lacks.length ? `${name} version ${version} has ${lacks.join("; ")}.` : "" };
}
