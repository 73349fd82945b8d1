// @ts-check
/** Small parts of stream.js: a pause that can be ended, a watchdog, what goes into a request, what a refusal says. */

const LONGEST_TIMEOUT = 2 ** 31 - 1; // milliseconds; setTimeout fires at once for more
const BODY_LIMIT = 65_536; // bytes of a refusal's body that are read to tell its reason
const BODY_TIMEOUT = 5_000; // and milliseconds

/** A wait that something else may end early. */
export class Pause {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #resolve = () => {};

  /** @param {number} delay milliseconds @returns {Promise<void>} */
  wait(delay) {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timer = setTimeout(resolve, Math.min(delay, LONGEST_TIMEOUT));
    });
  }

  end() {
    clearTimeout(this.#timer);
    this.#resolve();
  }
}

/** Calls `onSilence` when it was not fed for `limit` milliseconds; 0 never. By the wall clock: sleep counts. */
export class Watchdog {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #fed = Date.now();
  #limit;
  #onSilence;

  /** @param {number} limit @param {() => void} onSilence */
  constructor(limit, onSilence) {
    this.#limit = limit;
    this.#onSilence = onSilence;
    this.check();
  }

  feed() {
    this.#fed = Date.now();
  }

  check() {
    if (!this.#limit) return;
    this.stop();
    const left = this.#limit - (Date.now() - this.#fed);
    if (left <= 0) this.#onSilence();
    else this.#timer = setTimeout(() => this.check(), Math.min(left, LONGEST_TIMEOUT));
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/** "The resulting value, encoded as UTF-8": fetch takes a header's bytes as Latin-1 characters. @param {string} id */
export function headerBytes(id) {
  return Array.from(new TextEncoder().encode(id), (byte) => String.fromCharCode(byte)).join('');
}

/** @param {string | URL} url relative to the document, as EventSource takes it @throws {DOMException} SyntaxError */
export function resolve(url) {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw new DOMException(`Cannot open a stream at ${JSON.stringify(String(url))}: not a valid URL.`, 'SyntaxError');
  }
}

/** Return the text of a refusal, as much as fits the limits. @param {Response} response @returns {Promise<string>} */
export async function errorBody(response) {
  const reader = response.body?.getReader();
  if (!reader) return '';
  const timer = setTimeout(() => reader.cancel().catch(() => {}), BODY_TIMEOUT);
  const utf8 = new TextDecoder();
  let [text, size] = ['', 0];
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      text += utf8.decode(read.value, { stream: true });
      size += read.value.length;
      if (size >= BODY_LIMIT) break;
    }
  } catch {
    // The connection broke while it told why; what was read will do.
  } finally {
    clearTimeout(timer);
  }
  return text;
}

/** The sentence of an error, its cause's included: fetch hides there what happened. @param {unknown} error */
export function reasonOf(error) {
  const { message, cause } = /** @type {any} */ (error ?? {});
  return [message ?? String(error), cause?.message].filter(Boolean).join(': ');
}
