// Two colour maps that are read without full colour vision, between published anchors in a straight line.

const STEPS = 256;
const FULL_FROM = 2; // colours that fade are full from a half of the range on

// viridis (Smith, van der Walt 2015): perceptually uniform, ever lighter.
const VIRIDIS =
  "440154 482475 414487 355f8d 2a788e 21918c 22a884 44bf70 7ad151 bddf26 fde725";
// sunset (Tol 2021): blue over a pale middle to orange and red.
const SUNSET =
  "364b9a 4a7bb7 6ea6cd 98cae1 c2e4ef eaeccc feda8b fdb366 f67e4b dd3d2d a50026";

export const SEQUENTIAL = ramp(VIRIDIS); // of what goes from little to much
export const DIVERGING = ramp(SUNSET); // of what goes from against to for, 0 in the middle

// 256 colours, (256, 3) bytes one after the other.
function ramp(anchors) {
  const colours = anchors.split(" ").map((each) => parseInt(each, 16));
  const bytes = new Uint8ClampedArray(3 * STEPS);
  for (let step = 0; step < STEPS; step++) {
    const at = (step / (STEPS - 1)) * (colours.length - 1);
    const low = Math.min(Math.floor(at), colours.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [from, to] = [colours[low], colours[low + 1]].map((c) => (c >> (16 - 8 * channel)) & 255);
      bytes[3 * step + channel] = from + (to - from) * (at - low);
    }
  }
  return bytes;
}

// Numbers as a picture: the lowest of the range has the ramp's first colour, the highest its last.
// `isFading`: what is near 0 is transparent, so that what lies below shows through.
export function paint(numbers, width, height, { low, high, colours, isFading = false }) {
  const picture = new ImageData(width, height);
  const { data } = picture;
  const scale = high > low ? (STEPS - 1) / (high - low) : 0;
  for (let at = 0; at < numbers.length; at++) {
    const level = scale ? Math.min(STEPS - 1, Math.max(0, (numbers[at] - low) * scale)) : STEPS / 2;
    const colour = 3 * Math.round(level);
    data[4 * at] = colours[colour];
    data[4 * at + 1] = colours[colour + 1];
    data[4 * at + 2] = colours[colour + 2];
    data[4 * at + 3] = isFading ? Math.min(255, (FULL_FROM * 255 * Math.abs(numbers[at])) / (high || 1)) : 255;
  }
  return picture;
}
