// @ts-check
/**
 * Where conversations are kept: here in this browser, behind the few promises that a server's store will keep too.
 *
 * Each message has a key of its own, so that two tabs never write over each other's messages, and an answer is written
 * only forwards: a tab that has read less of a stream than what is kept leaves it alone. Text and cursor stand in
 * the same value: what is kept is always a state from which the answer can be resumed.
 *
 * Storage may be missing or full. Then this tab goes on from memory, and `onfull` is called once to say so.
 */

/** @import { State, ToolCall } from './chunks.js' */

/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string} chat
 * @property {string | null} parent
 * @property {'user' | 'assistant'} role
 * @property {number} at milliseconds
 * @property {string} text
 * @property {string} reasoning
 * @property {ToolCall[]} tools
 * @property {string} model the one asked for; "" for the server's default
 * @property {State | 'sending' | 'unsent' | 'gone'} state of an answer; a question is always completed
 * @property {string | null} finish
 * @property {string | null} error
 * @property {string} key the Idempotency-Key of the request for it
 * @property {string | null} stream
 * @property {string} cursor the last event id
 * @property {number} count events so far
 * @property {number} thought milliseconds until the first word
 * @property {number} took milliseconds until the end
 *
 * @typedef {{ id: string, title: string, at: number, leaf: string | null, model: string }} ChatInfo
 */

const ROOT = 'tickertape/1/';
const OPEN = new Set(['sending', 'running', 'unsent']);

/** Whether nothing will be added to it. @param {Message} message */
export const isOver = (message) => !OPEN.has(message.state);

export class LocalStore {
  #area = storage();
  /** @type {Map<string, string>} what could not be stored */ #memory = new Map();
  /** Called once when something could not be stored. */
  onfull = () => {};

  /** All chats, the newest first. @returns {Promise<ChatInfo[]>} */
  async chats() {
    const chats = this.#all(`${ROOT}chat/`).filter((chat) => typeof chat.title === 'string');
    return chats.sort((one, other) => other.at - one.at);
  }

  /** @param {string} chat @returns {Promise<Message[]>} */
  async messages(chat) {
    const messages = this.#all(`${ROOT}message/${chat}/`).filter((message) => typeof message.text === 'string');
    return messages.sort((one, other) => one.at - other.at);
  }

  /** @param {ChatInfo} chat */
  saveChat(chat) {
    this.#write(`${ROOT}chat/${chat.id}`, JSON.stringify(chat));
  }

  /** Keep a message, unless more of it is kept already, or its chat was deleted. @param {Message} message */
  save(message) {
    if (this.#read(`${ROOT}chat/${message.chat}`) === null) return;
    const key = `${ROOT}message/${message.chat}/${message.id}`;
    const kept = /** @type {Message | null} */ (parsed(this.#read(key)));
    if (kept && kept.key === message.key && progress(kept) > progress(message)) return;
    this.#write(key, JSON.stringify(message));
  }

  /** Forget a chat; the function returned brings it back. @param {string} id */
  remove(id) {
    const keys = this.#keys().filter((key) => key === `${ROOT}chat/${id}` || key.startsWith(`${ROOT}message/${id}/`));
    const values = keys.map((key) => this.#read(key) ?? '');
    for (const key of keys) this.#drop(key);
    return () => keys.forEach((key, i) => this.#write(key, values[i]));
  }

  /** What was typed but not sent. @param {string} chat @returns {string} */
  draft(chat) {
    return this.#read(`${ROOT}draft/${chat}`) ?? '';
  }

  /** @param {string} chat @param {string} text */
  saveDraft(chat, text) {
    if (text) this.#write(`${ROOT}draft/${chat}`, text);
    else this.#drop(`${ROOT}draft/${chat}`);
  }

  /**
   * Tell what other tabs store.
   * @param {{ message: (message: Message) => void, chats: () => void }} listener
   */
  watch(listener) {
    addEventListener('storage', ({ key, newValue }) => {
      if (key === null || key.startsWith(`${ROOT}chat/`)) listener.chats();
      else if (key.startsWith(`${ROOT}message/`) && newValue) {
        const message = parsed(newValue);
        if (message) listener.message(message);
      }
    });
  }

  /** @param {string} prefix @returns {any[]} */
  #all(prefix) {
    const keys = this.#keys().filter((key) => key.startsWith(prefix));
    return keys.map((key) => parsed(this.#read(key))).filter((value) => value && typeof value === 'object');
  }

  #keys() {
    try {
      return [...new Set([...Object.keys(this.#area ?? {}), ...this.#memory.keys()])];
    } catch {
      return [...this.#memory.keys()];
    }
  }

  /** @param {string} key @returns {string | null} */
  #read(key) {
    try {
      return this.#memory.get(key) ?? this.#area?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {string} value */
  #write(key, value) {
    try {
      if (!this.#area) throw new Error('no storage');
      this.#area.setItem(key, value);
      this.#memory.delete(key);
    } catch {
      if (!this.#memory.size) this.onfull();
      this.#memory.set(key, value);
    }
  }

  /** @param {string} key */
  #drop(key) {
    this.#memory.delete(key);
    try {
      this.#area?.removeItem(key);
    } catch {
      // It cannot be read either.
    }
  }
}

/** How far an answer has come: a message with less of it never replaces one with more. @param {Message} message */
export function progress(message) {
  if (isOver(message)) return Infinity;
  return message.stream ? message.count : -1;
}

/** The browser's storage, or null where it is switched off. */
function storage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/** @param {string | null} text @returns {any} */
function parsed(text) {
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
