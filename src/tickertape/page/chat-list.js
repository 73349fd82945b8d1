// @ts-check
/** The list of chats: as this browser last saw it, then as the server has it; or what a search finds. */
import { api, coalesce, Refused } from './api.js';

/** @import { ListItem } from './api.js' */
/** @import { LocalStore } from './local-store.js' */

/** `match` is the id of the message that a search found, and `snippet` the place in it; "" if none.
 * @typedef {{ id: string, title: string, at: number, running: boolean, match: string, snippet: string }} Row */

export class ChatList {
  /** @type {Row[]} */ rows = [];
  /** What is searched for; "" lists all. */
  query = '';
  /** How many there are on the server. */
  total = 0;
  /** The server could not be asked: these are the copies in this browser. */
  offline = false;
  #requested = 0;
  /** @type {Row[]} */ #newest = [];
  /** @type {Row[]} those that were loaded since; they stay when the newest are loaded again */ #older = [];
  /** Something has changed: load the newest again, one load at a time however often this is called. */
  refresh = coalesce(() => this.#load());

  /** @param {LocalStore} store @param {() => void} changed */
  constructor(store, changed) {
    this.store = store;
    this.changed = changed;
    this.#showCopies();
  }

  /** @param {string} query */
  search(query) {
    this.query = query.trim();
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

  /** @param {string} id @returns {Promise<() => Promise<void>>} restores it */
  async remove(id) {
    const local = this.store.chat(id)?.local ?? false;
    if (!local) await api.remove(id);
    const restore = this.drop(id);
    return async () => {
      if (!local) await api.change(id, { deleted: false });
      restore();
      await this.refresh();
    };
  }

  /** Drop a chat that was deleted on the server. @param {string} id @returns {() => void} restores the copy of it */
  drop(id) {
    this.rows = this.rows.filter((row) => row.id !== id);
    this.#older = this.#older.filter((row) => row.id !== id);
    this.changed();
    return this.store.remove(id);
  }

  /** @param {number} [offset] */
  async #load(offset = 0) {
    const request = ++this.#requested;
    const { query } = this;
    try {
      const { items, total } = await api.list(query, offset);
      if (request !== this.#requested) return;
      const rows = items.map((item) => this.#rowOf(item));
      if (offset) this.#older.push(...rows);
      else {
        if (this.#older.length) this.#older.unshift(...this.#newest);
        this.#newest = rows;
      }
      const seen = new Set();
      const fresh = (/** @type {Row} */ { id }) => !seen.has(id) && seen.add(id);
      this.#older = [...this.#newest, ...this.#older].filter(fresh).slice(this.#newest.length);
      this.rows = [...(query ? [] : this.#unsent(rows)), ...this.#newest, ...this.#older];
      Object.assign(this, { total, offline: false });
    } catch (error) {
      if (request !== this.#requested) return;
      this.offline = !(error instanceof Refused);
      this.#showCopies();
    }
    this.changed();
  }

  /** @param {ListItem} item @returns {Row} */
  #rowOf({ id, title, update_time: updated, running, message_id: match, snippet, model }) {
    const at = updated * 1000;
    const kept = this.store.chat(id);
    if (kept?.title !== title || kept.at !== at || kept.local) {
      const nothing = { leaf: null, system: '' };
      this.store.saveChat({ ...nothing, ...kept, id, title, at, model: model ?? '', local: false });
    }
    return { id, title, at, running, match: match ?? '', snippet: snippet ?? '' };
  }

  /** What has not reached the server. @param {Row[]} rows @returns {Row[]} */
  #unsent(rows) {
    return this.store
      .chats()
      .filter(({ id, local }) => local && !rows.some((row) => row.id === id))
      .map(rowOfCopy);
  }

  #showCopies() {
    const query = this.query.toLowerCase();
    const kept = this.store.chats().map(rowOfCopy);
    this.rows = query ? kept.filter((row) => this.#matches(row, query)) : kept;
    this.total = 0;
  }

  /** @param {Row} row @param {string} query */
  #matches(row, query) {
    if (row.title.toLowerCase().includes(query)) return true;
    const { id = '', text = '' } = this.store.messages(row.id).findLast((one) => one.text.toLowerCase().includes(query)) ?? {};
    const at = text.toLowerCase().indexOf(query);
    row.match = id;
    row.snippet = `${at > 40 ? '…' : ''}${text.slice(Math.max(0, at - 40), at + 80)}`;
    return id !== '';
  }
}

/** @param {import('./chat.js').ChatInfo} copy @returns {Row} */
function rowOfCopy({ id, title, at }) {
  return { id, title, at, running: false, match: '', snippet: '' };
}
