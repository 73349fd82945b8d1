// @ts-check
/** The list of chats: as this browser last saw it, then as the server has it; or what a search finds. */
import { api, Refused } from './api.js';
import { oneAtATime } from './once.js';

/** @import { Item } from './api.js' */
/** @import { Store } from './store.js' */

/** `found` is the message that a search found, and `snippet` the place in it; "" if none.
 * @typedef {{ id: string, title: string, at: number, running: boolean, found: string, snippet: string }} Row */

export class Chats {
  /** @type {Row[]} */ rows = [];
  /** What is searched for; "" lists all. */
  words = '';
  /** How many there are on the server. */
  total = 0;
  /** The server could not be asked: these are the copies in this browser. */
  offline = false;
  #asked = 0;
  /** @type {Row[]} */ #newest = [];
  /** @type {Row[]} those that were asked for since; they stay when the newest are looked at again */ #older = [];
  /** Something is different: look again, once at a time however often this is called. */
  refresh = oneAtATime(() => this.#load());

  /** @param {Store} store @param {() => void} changed */
  constructor(store, changed) {
    this.store = store;
    this.changed = changed;
    this.#showKept();
  }

  /** @param {string} words */
  search(words) {
    this.words = words.trim();
    this.#older = [];
    return this.#load();
  }

  /** The older ones too. */
  more() {
    return this.#load(this.#newest.length + this.#older.length);
  }

  /** @param {string} id @param {string} title */
  async rename(id, title) {
    const row = this.rows.find((one) => one.id === id);
    if (row) row.title = title;
    const kept = this.store.chat(id);
    if (kept) this.store.saveChat({ ...kept, title });
    this.changed();
    if (!kept?.local) await api.change(id, { title });
  }

  /** @param {string} id @returns {Promise<() => Promise<void>>} what brings it back */
  async remove(id) {
    const local = this.store.chat(id)?.local ?? false;
    if (!local) await api.remove(id);
    const bringBack = this.drop(id);
    return async () => {
      if (!local) await api.change(id, { deleted: false });
      bringBack();
      await this.refresh();
    };
  }

  /** It is gone: here too. @param {string} id @returns {() => void} what brings back what was kept of it */
  drop(id) {
    this.rows = this.rows.filter((row) => row.id !== id);
    this.#older = this.#older.filter((row) => row.id !== id);
    this.changed();
    return this.store.remove(id);
  }

  /** @param {number} [offset] */
  async #load(offset = 0) {
    const asked = ++this.#asked;
    const { words } = this;
    try {
      const { items, total } = await api.list(words, offset);
      if (asked !== this.#asked) return;
      const rows = items.map((item) => this.#rowOf(item));
      if (offset) this.#older.push(...rows);
      else {
        if (this.#older.length) this.#older.unshift(...this.#newest);
        this.#newest = rows;
      }
      const seen = new Set();
      const fresh = (/** @type {Row} */ { id }) => !seen.has(id) && seen.add(id);
      this.#older = [...this.#newest, ...this.#older].filter(fresh).slice(this.#newest.length);
      this.rows = [...(words ? [] : this.#unsent(rows)), ...this.#newest, ...this.#older];
      Object.assign(this, { total, offline: false });
    } catch (error) {
      if (asked !== this.#asked) return;
      this.offline = !(error instanceof Refused);
      this.#showKept();
    }
    this.changed();
  }

  /** @param {Item} item @returns {Row} */
  #rowOf({ id, title, update_time: updated, running, message_id: found, snippet, model }) {
    const at = updated * 1000;
    const kept = this.store.chat(id);
    if (kept?.title !== title || kept.at !== at || kept.local) {
      const nothing = { leaf: null, system: '' };
      this.store.saveChat({ ...nothing, ...kept, id, title, at, model: model ?? '', local: false });
    }
    return { id, title, at, running, found: found ?? '', snippet: snippet ?? '' };
  }

  /** What has not reached the server. @param {Row[]} rows @returns {Row[]} */
  #unsent(rows) {
    return this.store
      .chats()
      .filter(({ id, local }) => local && !rows.some((row) => row.id === id))
      .map(rowOfCopy);
  }

  #showKept() {
    const words = this.words.toLowerCase();
    const kept = this.store.chats().map(rowOfCopy);
    this.rows = words ? kept.filter((row) => this.#holds(row, words)) : kept;
    this.total = 0;
  }

  /** @param {Row} row @param {string} words */
  #holds(row, words) {
    if (row.title.toLowerCase().includes(words)) return true;
    const { id = '', text = '' } = this.store.messages(row.id).findLast((one) => one.text.toLowerCase().includes(words)) ?? {};
    const at = text.toLowerCase().indexOf(words);
    row.found = id;
    row.snippet = `${at > 40 ? '…' : ''}${text.slice(Math.max(0, at - 40), at + 80)}`;
    return id !== '';
  }
}

/** @param {import('./store.js').ChatInfo} copy @returns {Row} */
function rowOfCopy({ id, title, at }) {
  return { id, title, at, running: false, found: '', snippet: '' };
}
