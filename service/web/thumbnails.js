// The row of pictures: each can be looked at, and says what it was taken for or why it was not.

import { element } from "./dom.js";

const SIDE_PX = 72;

export function thumbnailOf(picture, isShown, pick) {
  const small = element("canvas", { width: SIDE_PX, height: SIDE_PX, ariaHidden: "true" });
  if (picture.canvas) drawInside(small, picture.canvas);
  return element(
    "button",
    {
      type: "button",
      className: "stop thumbnail",
      ariaPressed: String(isShown),
      title: picture.name,
      onclick: () => pick(picture),
    },
    small,
    element("span", { className: "name" }, picture.isExample ? "example" : picture.name),
    element("span", { className: "quiet" }, picture.said || " "),
  );
}

function drawInside(small, canvas) {
  const scale = SIDE_PX / Math.max(canvas.width, canvas.height);
  const [across, down] = [canvas.width * scale, canvas.height * scale];
  small.getContext("2d").drawImage(canvas, (SIDE_PX - across) / 2, (SIDE_PX - down) / 2, across, down);
}
