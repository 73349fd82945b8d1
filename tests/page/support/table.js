// @ts-check
/** Prints what reconnect.js decides, for every status and a grid of delays, as JSON. */
import { IDEMPOTENT, RETRYABLE, backoff, isEventStream, retryAfter, verdict } from '../../../src/tickertape/page/reconnect.js';

const { statuses, types, delays, heads, now } = JSON.parse(process.argv[2]);
const flags = [false, true];

console.log(
  JSON.stringify({
    idempotent: [...IDEMPOTENT].sort(),
    retryable: [...RETRYABLE].sort(),
    types: types.map(isEventStream),
    verdicts: statuses.flatMap((/** @type {number} */ status) =>
      types.flatMap((/** @type {string} */ type) =>
        flags.flatMap((reconnecting) => flags.map((recover) => verdict(status, type, { reconnecting, recover }))))),
    delays: delays.map((/** @type {[number, number, number, number]} */ [base, ...rest]) => backoff(base, ...rest)),
    waits: heads.map((/** @type {Record<string, string>} */ head) => retryAfter(new Headers(head), now)),
  }),
);
