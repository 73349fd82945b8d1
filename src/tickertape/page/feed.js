// @ts-check
/**
 * What happens to the conversations elsewhere: in another tab, on another device. Held only while it can be seen and
 * no answer is being read here, so that a visible chat takes one connection and a hidden one that is idle none: a browser
 * gives an origin six over HTTP/1.1.
 */

import { BASE } from './base.js';

/** Milliseconds between two tries where the browser gives up by itself. */
const RETRY = 3000;

/** `reset`: anything may have happened before. @typedef {'reset' | 'created' | 'message' | 'updated' | 'deleted' | 'ended'} What */
/** @typedef {{ what: What, conversation_id?: string, message_id?: string }} Change */

export class Feed {
  /** @type {EventSource | null} */ #source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #cursor = '';
  #begun = false;
  #busy = false;

  /** @param {(change: Change) => void} changed @param {() => void} failed nobody answers, or not as a feed does */
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    for (const name of ['visibilitychange', 'freeze', 'resume']) document.addEventListener(name, () => this.#settle());
    addEventListener('online', () => this.#settle(true));
    addEventListener('pagehide', () => this.#close());
    addEventListener('pageshow', () => this.#settle());
  }

  /** From now on; there is a server, and it lets us in. */
  begin() {
    this.#begun = true;
    this.#settle();
  }

  /** An answer is being read: its stream is connection enough. @param {boolean} busy */
  set busy(busy) {
    this.#busy = busy;
    this.#settle();
  }

  /** @param {boolean} [anew] */
  #settle(anew = false) {
    const wanted = this.#begun && !this.#busy && !document.hidden;
    if (!wanted || anew) this.#close();
    if (wanted) this.#source ??= this.#open();
  }

  #open() {
    clearTimeout(this.#timer);
    const cursor = this.#cursor && `?last_event_id=${encodeURIComponent(this.#cursor)}`;
    const source = new EventSource(`${BASE}/backend-api/changes${cursor}`);
    source.onmessage = ({ data, lastEventId }) => {
      this.#cursor = lastEventId;
      const change = parsed(data);
      if (change) this.changed(change);
    };
    source.onerror = () => {
      this.failed();
      if (source.readyState !== EventSource.CLOSED) return; // the browser comes back by itself
      this.#close();
      this.#timer = setTimeout(() => this.#settle(), RETRY * (1 + Math.random()));
    };
    return source;
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}

/** @param {string} data @returns {Change | null} */
function parsed(data) {
  try {
    const change = JSON.parse(data);
    return typeof change?.what === 'string' ? change : null;
  } catch {
    return null;
  }
}
