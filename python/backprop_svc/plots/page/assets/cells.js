// Puts runs into the cells of a map.

const MOST_CELLS = 400;

function mostCells(runs) {
  return runs.content.sample?.cells ?? MOST_CELLS;
}

// The cells along an axis: `of` has that of each run, `edges` lie between them.
function cellsOf(axis, runs) {
  const { distinct, labels, log, numbers, low, high } = axis;
  if (distinct && distinct.length <= mostCells(runs)) {
    const size = distinct.length;
    return { size, of: axis.codes, edges: between(distinct, log, labels), values: distinct, axis };
  }
  // As Python's sample.py puts them into cells.
  const size = runs.content.sample?.cells
    ?? Math.min(MOST_CELLS, Math.max(10, Math.round(runs.count ** 0.4)));
  const scale = log ? Math.log : (value) => value;
  const [from, width] = [scale(low), (scale(high) - scale(low)) / size || 1];
  const back = (place) => (log ? Math.exp(from + place * width) : from + place * width);
  const of = Uint16Array.from(numbers, (value) =>
    Math.max(0, Math.min(size - 1, Math.floor((scale(value) - from) / width))));
  const edges = Array.from({ length: size + 1 }, (_, place) => back(place));
  return { size, of, edges, values: edges.slice(0, -1).map((_, i) => back(i + 0.5)), axis,
    binned: true };
}

function between(values, log, labels) {
  if (labels) return [...values.map((place) => place - 0.5), values.length - 0.5];
  if (values.length === 1) {
    const half = Math.abs(values[0]) / 2 || 0.5;
    return [values[0] - half, values[0] + half];
  }
  const middle = (one, two) => (log ? Math.sqrt(one * two) : (one + two) / 2);
  const inner = Array.from({ length: values.length - 1 }, (_, i) =>
    middle(values[i], values[i + 1]));
  const mirror = (end, edge) => (log ? (end * end) / edge : 2 * end - edge);
  return [mirror(values[0], inner[0]), ...inner, mirror(values.at(-1), inner.at(-1))];
}

// Of each cell the number of its runs, the best of them, and the mean of a measure.
function gather(runs, x, y, measure, fixed) {
  const size = x.size * y.size;
  const cells = { best: new Int32Array(size).fill(-1), runs: new Uint32Array(size),
    sum: new Float64Array(size), finite: new Uint32Array(size), total: 0 };
  for (let row = 0; row < runs.count; row++) {
    if (fixed.some(({ cells: own, at }) => own.of[row] !== at)) continue;
    const cell = y.of[row] * x.size + x.of[row];
    const best = cells.best[cell];
    if (best < 0 || runs.objective[row] < runs.objective[best]) cells.best[cell] = row;
    cells.total++;
    cells.runs[cell]++;
    if (row >= runs.drawn) continue;
    const value = measure ? measure.numbers[row] : NaN;
    if (Number.isFinite(value)) {
      cells.sum[cell] += value;
      cells.finite[cell]++;
    }
  }
  return cells;
}
