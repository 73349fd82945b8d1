// @ts-check
/** Seeded randomness: a failing example can be run again. */

/** Numbers from 0 to 1, a linear congruential sequence. @param {number} seed */
export function generator(seed) {
  let state = Math.imul(seed, 2_654_435_761) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** @template T @param {() => number} random @param {readonly T[]} choices @returns {T} */
export const pick = (random, choices) => choices[Math.floor(random() * choices.length)];

const TOKENS = [
  'data: ', 'data:', 'data', 'id: ', 'id:', 'event: ', 'retry: ', 'retry:', ':', ': ping', ' ', 'x', 'hello', '12', '03000', '٣', '1_0',
  '\n', '\n', '\n\n', '\r', '\r\n', '\r\n\r\n', '\0', '\uFEFF', '\u2028', '\u0085', '\v', '\f', 'é', '…', '日本', '👍', '[DONE]', '{"a":1}',
].map((text) => new Uint8Array(Buffer.from(text)));
const DAMAGED = [[0x80], [0xc0], [0xe2, 0x80], [0xf0, 0x9f], [0xf0, 0x80], [0xff], [0xed, 0xa0, 0x80], [0xef, 0xbb], [0xf4, 0x90]].map(
  (bytes) => new Uint8Array(bytes),
);

/** Bytes made of what matters in an event stream, damaged characters among them. @param {() => number} random */
export function streamBytes(random, tokens = 40) {
  const count = Math.floor(random() * tokens);
  return new Uint8Array(Buffer.concat(Array.from({ length: count }, () => pick(random, random() < 0.1 ? DAMAGED : TOKENS))));
}

/** The bytes cut at random places, empty pieces included. @param {() => number} random @param {Uint8Array} bytes */
export function randomCuts(random, bytes) {
  const cuts = Array.from({ length: Math.floor(random() * 8) }, () => Math.floor(random() * (bytes.length + 1))).sort((a, b) => a - b);
  return [0, ...cuts].map((from, at) => bytes.subarray(from, cuts[at] ?? bytes.length));
}
