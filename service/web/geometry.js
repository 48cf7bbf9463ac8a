// Where the square that the model sees lies in a picture of a width and a height, in its pixels.

// As the model's input contract says: `crop` cuts a square from the middle, `fit` pads the picture
// to one, and so lies beyond it; right up to the rounding of a pixel.
export function squareOf({ fit, size_px: size, shorter_side_px: shorter }, width, height) {
  const side =
    fit === "crop"
      ? (Math.min(width, height) * size) / shorter
      : Math.max(width, height);
  if (fit !== "crop" && fit !== "fit") return { x: 0, y: 0, width, height };
  return { x: (width - side) / 2, y: (height - side) / 2, width: side, height: side };
}
