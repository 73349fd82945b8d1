// @ts-check
/**
 * Changes that other tabs and devices make to the conversations, and what follows from them here. The feed is connected
 * only while the page is visible and no answer is being read, so that a visible chat takes one connection and a hidden
 * idle one none: a browser gives an origin six over HTTP/1.1.
 */
import { BASE, coalesce } from './api.js';
import { go } from './router.js';

/** @import { ChatList } from './chat-list.js' */
/** @import { Session } from './session.js' */

/** Milliseconds between two tries where the browser gives up by itself. */
const RETRY = 3000;

/**
 * `reset`: anything may have happened before.
 * @typedef {'reset' | 'created' | 'message' | 'updated' | 'deleted' | 'ended'} ChangeKind
 */
/** @typedef {{ what: ChangeKind, conversation_id?: string, message_id?: string }} Change */

export class ChangeFeed {
  /** @type {EventSource | null} */ #source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #cursor = '';
  #begun = false;
  #busy = false;

  /**
   * @param {(change: Change) => void} changed
   * @param {() => void} failed the server does not answer, or not as a feed does
   */
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    for (const name of ['visibilitychange', 'freeze', 'resume']) document.addEventListener(name, () => this.#update());
    addEventListener('online', () => this.#update(true));
    addEventListener('pagehide', () => this.#close());
    addEventListener('pageshow', () => this.#update());
  }

  /** Connect from now on; there is a server, and it accepts our session. */
  begin() {
    this.#begun = true;
    this.#update();
  }

  /** An answer is being read: its stream is connection enough. @param {boolean} busy */
  set busy(busy) {
    this.#busy = busy;
    this.#update();
  }

  /** @param {boolean} [anew] */
  #update(anew = false) {
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
      this.#timer = setTimeout(() => this.#update(), RETRY * (1 + Math.random()));
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

/**
 * Returns what applies a change to the list and to the chat that is open.
 * @param {() => Session | null} open @param {ChatList} chats @param {(text: string) => void} notify @returns {(change:
 *   Change) => void}
 */
export function changeHandler(open, chats, notify) {
  let followed = false; // whether the newest path is to be shown
  const reread = coalesce(() => {
    const read = open()?.refresh(followed);
    followed = false;
    return read;
  });
  return (change) => {
    const { conversation_id: id, what } = change;
    if (id && what === 'deleted') chats.drop(id);
    chats.refresh();
    const session = open();
    if (!session || session.chat.info.local || (id ?? session.chat.id) !== session.chat.id) return;
    if (session.isEcho(change)) return;
    followed ||= what === 'message' || what === 'reset';
    if (what !== 'deleted') return void reread();
    notify('This chat was deleted.');
    go('');
  };
}
