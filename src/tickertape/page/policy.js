// @ts-check
/** The words of reconnect.js: what can be chosen, what can happen, what is to be done. */

/** How a connection was lost; the value is the `reason` of the error event. */
export const Loss = Object.freeze({ ENDED: 'ended', BROKEN: 'broken', SILENT: 'silent' });

/** What the head of an answer means. */
export const Verdict = Object.freeze({ READ: 'read', END: 'end', RETRY: 'retry', REFUSE: 'refuse' });

/**
 * Everything that can be chosen about reconnecting. Times are in milliseconds.
 * @typedef {object} Policy
 * @property {number} reconnectionTime until the stream says otherwise; 3000 is what browsers take
 * @property {number} maxDelay the back-off's ceiling; a longer reconnection time still stands
 * @property {number} maxWait a server that asks for more than this is told no, with an error
 * @property {number} maxRetries connections in a row that bring no event before giving up
 * @property {number} readTimeout silence after which a connection counts as lost, 0 for never; comments feed it
 * @property {boolean} recover treat `RETRYABLE` statuses on a reconnect as a cut; the standard ends there
 * @property {boolean} reconnecting the stream is known to be there: judge the first answer as that to a reconnect
 * @property {boolean} repost send a method that is not idempotent again: the caller knows that the server can tell
 */

/** @type {Readonly<Policy>} */
export const POLICY = Object.freeze({
  reconnectionTime: 3000,
  maxDelay: 60_000,
  maxWait: 3_600_000,
  maxRetries: Infinity,
  readTimeout: 0,
  recover: true,
  reconnecting: false,
  repost: false,
});

/** What a browser's EventSource does: the same delay for ever, and a 503 is the end. @type {Readonly<Policy>} */
export const STRICT = Object.freeze({ ...POLICY, maxDelay: 0, maxWait: Infinity, recover: false });

/**
 * @typedef {object} OwnOptions
 * @property {boolean} [withCredentials] send cookies to other origins too
 * @property {string} [method] GET by default; a POST is sent once (see `repost` and reconnect.js)
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers] a function is asked for each request
 * @property {BodyInit} [body]
 * @property {unknown} [json] the body as JSON, instead of `body`
 * @property {string} [lastEventId] where to go on: the first request names it too
 * @property {boolean} [strict] behave exactly as the browser's EventSource
 * @property {number} [maxEventSize] bytes, 16 MiB by default
 * @property {AbortSignal} [signal] closes the source
 * @property {typeof globalThis.fetch} [fetch] another fetch
 * @property {() => number} [random] another Math.random
 */
/** @typedef {OwnOptions & Partial<Policy>} Options what ResumableEventSource takes */

/** The policy that a caller's options make. @param {Options} options @returns {Policy} */
export function policyOf(options) {
  const base = /** @type {any} */ (options.strict ? STRICT : POLICY);
  const given = /** @type {any} */ (options);
  return /** @type {any} */ (Object.fromEntries(Object.keys(base).map((name) => [name, given[name] ?? base[name]])));
}

/**
 * Wait so many milliseconds, then connect; `least` of them because the server asked. Or stop; `message` says why, and
 * is null if the stream ended as it may. `attempt` counts connections in a row without an event.
 * @typedef {{do: 'read'}} Read
 * @typedef {{do: 'wait', delay: number, least: number, attempt: number,
 *   reason: string, message: string, status: number | null}} Wait
 * @typedef {{do: 'stop', reason: string, message: string | null, status: number | null}} Stop
 */
