// Small maps of numbers -> as many pixels as they are drawn on.

import { paint } from "./colours.js";

// A map's numbers at width x height points: of the nearest cell, or bilinear between the cells' middles.
export function enlarge(map, width, height, isSmooth) {
  const rows = weightsOf(map.height, height, isSmooth);
  const columns = weightsOf(map.width, width, isSmooth);
  const drawn = new Float32Array(width * height);
  rows.forEach(([top, bottom, down], row) => {
    const [above, below] = [top * map.width, bottom * map.width];
    columns.forEach(([left, right, across], column) => {
      const { numbers } = map;
      const upper = numbers[above + left] * (1 - across) + numbers[above + right] * across;
      const lower = numbers[below + left] * (1 - across) + numbers[below + right] * across;
      drawn[row * width + column] = upper * (1 - down) + lower * down;
    });
  });
  return drawn;
}

// For each of `count` points the two cells of `cells` it lies between, and its share of the second.
function weightsOf(cells, count, isSmooth) {
  return Array.from({ length: count }, (_, at) => {
    const position = ((at + 0.5) * cells) / count - 0.5;
    if (!isSmooth) return [Math.round(position), Math.round(position), 0];
    const inside = Math.min(Math.max(position, 0), cells - 1);
    const low = Math.floor(inside);
    return [low, Math.min(low + 1, cells - 1), inside - low];
  });
}

// A map as a canvas of its own.
export function drawMap(canvas, map, range, width, height, isSmooth) {
  Object.assign(canvas, { width, height });
  const numbers = enlarge(map, width, height, isSmooth);
  canvas.getContext("2d").putImageData(paint(numbers, width, height, range), 0, 0);
  return canvas;
}

// The difference of two maps of one size.
export function difference(map, other) {
  return { ...map, numbers: map.numbers.map((number, at) => number - other.numbers[at]) };
}
