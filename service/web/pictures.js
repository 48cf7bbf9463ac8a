// Pictures to be classified: a file, and what the browser can show of it.

const LONGEST_PX = 1200; // of what is kept to be drawn; large photographs stay light
let opened = 0;

// A file as a picture. `canvas` is null where the browser cannot show its format.
export async function openPicture(file, isExample = false) {
  const canvas = await drawn(file).catch(() => null);
  return { id: ++opened, file, name: file.name, isExample, canvas, said: "" };
}

export async function openExample() {
  const response = await fetch("static/example.png");
  const file = new File([await response.blob()], "example.png", { type: "image/png" });
  return openPicture(file, true);
}

// The pictures that a view names: the one that is looked at, else the example; and the one beside it, else
// null. Of several with one name, the newest.
export function picturesOf(view, pictures) {
  const picture = pictures.findLast(({ name, isExample }) => (view.picture ? name === view.picture : isExample)) ?? pictures[0];
  const other = pictures.findLast((each) => each.name === view.beside && each !== picture) ?? null;
  return { picture, other };
}

// The names in a view that no picture of the page has.
export function lackedNames({ picture, beside }, pictures) {
  const names = [...new Set([picture, beside])];
  return names.filter((name) => name && pictures.every((each) => each.name !== name));
}

async function drawn(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const canvas = scaledTo(bitmap, Math.min(1, LONGEST_PX / Math.max(width, height)));
  bitmap.close();
  return Object.assign(canvas, { whole: `${width} × ${height} px` });
}

function scaledTo(bitmap, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
