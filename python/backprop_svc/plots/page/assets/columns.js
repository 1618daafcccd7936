// Reads the numbers of all runs, which Python's columns.py has put into the page.
"use strict";

const TYPES = {
  float64: Float64Array, float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array,
};

// The bytes of an element whose text is compressed and in base64.
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (sign) =>
    sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function readArray(buffer, place) {
  return new TYPES[place.type](buffer, place.offset, place.length);
}

// One value for each run. `numbers` are values, or positions in `labels`; where there are few
// different ones, `distinct` has them in ascending order and `codes` the place of each run's.
function readColumn(buffer, told) {
  if (told.codes !== undefined) {
    const codes = readArray(buffer, told.codes);
    if (Array.isArray(told.values)) {
      return { codes, labels: told.values, distinct: told.values.map((_, i) => i),
        numbers: codes };
    }
    const distinct = readArray(buffer, told.values);
    return { codes, distinct, numbers: Float64Array.from(codes, (code) => distinct[code]) };
  }
  if (told.rounded !== undefined) {
    const { low, step, log } = told;
    const number = (code) => {
      if (code === 0) return NaN;
      if (code === 1) return log ? 0 : -Infinity;
      if (code === 65535) return Infinity;
      const value = low + (code - 2) * step;
      return log ? 10 ** value : value;
    };
    return { numbers: Float64Array.from(readArray(buffer, told.rounded), number), rounded: true };
  }
  return { numbers: readArray(buffer, told) };
}
