// @ts-check
/** What every call of the server needs to know. */

/** The path below which the server is, as a proxy may have it; "" for the root. */
export const BASE = /^(.*)\/assets\/[0-9a-f]+\/[^/]+$/.exec(new URL(import.meta.url).pathname)?.[1] ?? '';

/** The error's code when the server wants its own key. An upstream's refusal of a key is a 401 too, with another code. */
export const LOCKED = 'invalid_api_key';
