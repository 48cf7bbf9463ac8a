// The scale of a map: its colours from the lowest to the highest number.

import { paint } from "./colours.js";
import { element } from "./dom.js";
import { least, most, shortNumber } from "./scales.js";

const WIDTH = 256;

// Colours and numbers; `words` says more than the two ends.
export function scaleBar(range, map, { isFixed, isLong = false }) {
  const colours = element("canvas", { width: WIDTH, height: 1, ariaHidden: "true" });
  const numbers = Float32Array.from({ length: WIDTH }, (_, at) => at);
  const ramp = { low: 0, high: WIDTH - 1, colours: range.colours };
  colours.getContext("2d").putImageData(paint(numbers, WIDTH, 1, ramp), 0, 0);
  const marks = isLong && range.low < 0 ? [range.low, 0, range.high] : [range.low, range.high];
  const ends = element("span", { className: "ends" }, ...marks.map((each) => element("span", {}, shortNumber(each))));
  const bar = element("div", { className: "scale" }, colours, ends);
  if (isLong) bar.append(element("p", { className: "quiet" }, words(range, map, isFixed)));
  return bar;
}

function words(range, map, isFixed) {
  const [low, high] = [least(map.numbers), most(map.numbers)];
  if (high - low < 1e-6) return `The map is the same number everywhere: ${shortNumber(low)}.`;
  const own = `this map goes from ${shortNumber(low)} to ${shortNumber(high)}`;
  if (isFixed && (low < range.low || high > range.high)) return `Fixed scale; ${own}, beyond its ends.`;
  return isFixed ? `Fixed scale; ${own}.` : `Scale stretched to this map alone; ${own}.`;
}
