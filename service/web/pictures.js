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
