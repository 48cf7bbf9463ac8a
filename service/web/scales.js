// From which number to which a map's colours go: fixed, or stretched over the map's own numbers.

import { DIVERGING, SEQUENTIAL } from "./colours.js";

const SIMILARITY_SPAN = 3; // standard deviations, as the service's own grey pictures have

// The range of a map of a kind: `gate`, `similarity` or `evidence`, whose fixed limit is the model's.
export function rangeOf({ numbers }, kind, isFixed, evidenceLimit) {
  const signed = (limit) => ({ low: -limit, high: limit, colours: DIVERGING });
  if (kind === "gate") {
    const [low, high] = isFixed ? [0, 1] : [least(numbers), most(numbers)];
    return { low, high, colours: SEQUENTIAL };
  }
  if (!isFixed) return signed(farthest(numbers));
  return signed(kind === "similarity" ? SIMILARITY_SPAN : evidenceLimit);
}

// One limit for several maps, `room` times as far as they go or more: 1, 2 or 5 times a power of ten.
export function commonLimit(maps, room = 1) {
  const largest = Math.max(...maps.map(({ numbers }) => room * farthest(numbers)), 1e-6);
  const power = 10 ** Math.floor(Math.log10(largest));
  return [1, 2, 5, 10].map((step) => step * power).find((limit) => limit >= largest);
}

export const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b), Infinity);
export const most = (numbers) => numbers.reduce((a, b) => Math.max(a, b), -Infinity);
const farthest = (numbers) => Math.max(most(numbers), -least(numbers));

// The standard deviation over the positions.
export function spreadOf({ numbers }) {
  const mean = meanOf({ numbers });
  return Math.sqrt(numbers.reduce((sum, each) => sum + (each - mean) ** 2, 0) / numbers.length);
}

export const meanOf = ({ numbers }) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

// Three digits, with a minus as long as a plus; whole numbers as they are.
export function shortNumber(number) {
  const size = Math.abs(number);
  const isWhole = Number.isInteger(number) || size >= 100;
  const text = size < 1e-9 ? "0" : isWhole ? number.toFixed(0) : number.toPrecision(3);
  return text.replaceAll("-", "−");
}
