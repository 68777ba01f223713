// What the SDK sends for values that JSON has no word for.
import { stringifyIO } from "@trigger.dev/core/v3/utils/ioSerialization";
import { answer } from "./client.mjs";

const at = new Date("2026-01-02T03:04:05.678Z");
const shared = { x: 1 };
const cycle = { a: 1 };
cycle.self = cycle;
const inner = { deep: {} };
inner.deep.up = inner;
class Thing {
  p = at;
}

const values = {
  plain: { a: [1, null, true, "ü"], b: {} },
  list: [1, [2]],
  zero: 0,
  date: { at, list: [at, at] },
  "bare date": at,
  undefined: { a: undefined, b: [undefined, 1], c: { d: undefined } },
  bigint: { n: 12345678901234567890n },
  map: new Map([["a", at], ["b", new Map([["c", undefined]])]]),
  "map by number": { m: new Map([[1, "x"], [2.5, "y"]]) },
  "map by object": { m: new Map([[{ k: at }, 1n]]) },
  "map that collides": { m: new Map([[1, "x"], ["1", "y"]]) },
  set: { s: new Set([1, at, new Set([undefined])]) },
  regexp: { r: /a+\/b/gi },
  url: { u: new URL("https://example.com/a?b=c") },
  error: { e: new TypeError("no") },
  numbers: { a: NaN, b: Infinity, c: -Infinity, d: -0 },
  "typed array": { a: new Uint8Array([1, 2, 255]), b: new Float64Array([1.5]) },
  buffer: { b: Buffer.from("hi") },
  "keys with dots": { "a.b": { c: at, d: undefined }, "a\\b": at, "x\\.y": at },
  shared: { a: shared, b: shared, c: { d: shared } },
  nested: { a: [{ b: new Map([["k", new Set([at])]]) }] },
  class: { t: new Thing() },
  cycle,
  "inner cycle": { outer: inner },
};

const found = {};
for (const [name, value] of Object.entries(values)) found[name] = (await stringifyIO(value)).data;
answer(found);
