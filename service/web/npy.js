// Arrays of float32 in numpy's file format, as the service sends them in base64.

const HEAD_BYTES = 10; // magic, version, and the length of the description that follows

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// The maps of an array (N, h, w).
export function mapsOf(base64) {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  const start = HEAD_BYTES + view.getUint16(8, true);
  const description = new TextDecoder("latin1").decode(bytes.subarray(HEAD_BYTES, start));
  const [count, height, width] = description.match(/\(([^)]*)\)/)[1].split(",").map(Number);
  const numbers = new Float32Array(bytes.buffer.slice(start));
  const cells = height * width;
  return Array.from({ length: count }, (_, at) => ({
    height,
    width,
    numbers: numbers.subarray(at * cells, (at + 1) * cells),
  }));
}
