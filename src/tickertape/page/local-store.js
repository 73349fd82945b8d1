// @ts-check
/**
 * What this browser keeps: drafts, questions that have not reached the server yet, and a copy of the chats that were
 * shown, so that they can be read without a server. The conversations themselves are the server's.
 *
 * Each message has a key of its own, so that two tabs never overwrite each other's messages. Text and cursor are in
 * the same value: what is kept is always a state from which the answer can be resumed. When the storage is full the
 * copies of the chats that changed longest ago are dropped; without a storage this tab uses memory and says so once.
 */

/** @import { ChatInfo, Message } from './chat.js' */

const ROOT = 'tickertape/2/';
export class LocalStore {
  #area = storage();
  /** @type {Map<string, string>} what could not be stored */ #memory = new Map();
  /** Called once when something could not be stored. */
  onfull = () => {};

  /** All chats, the newest first. @returns {ChatInfo[]} */
  chats() {
    const chats = this.#all(`${ROOT}chat/`).filter((chat) => typeof chat.title === 'string');
    return chats.sort((one, other) => other.at - one.at);
  }

  /** @param {string} id @returns {ChatInfo | null} */
  chat(id) {
    return parsed(this.#read(`${ROOT}chat/${id}`));
  }

  /** @param {string} chat @returns {Message[]} */
  messages(chat) {
    const messages = this.#all(`${ROOT}message/${chat}/`).filter((message) => typeof message.text === 'string');
    return messages.sort((one, other) => one.at - other.at);
  }

  /** @param {ChatInfo} chat */
  saveChat(chat) {
    this.#write(`${ROOT}chat/${chat.id}`, JSON.stringify(chat));
  }

  /** @param {Message} message */
  save(message) {
    if (this.#read(`${ROOT}chat/${message.chat}`) === null) return; // deleted meanwhile
    const key = `${ROOT}message/${message.chat}/${message.id}`;
    const value = JSON.stringify(message);
    if (this.#read(key) !== value) this.#write(key, value);
  }

  /** Keep these messages of a chat and no others. @param {string} chat @param {Message[]} messages */
  saveAll(chat, messages) {
    const kept = new Set(messages.map(({ id }) => `${ROOT}message/${chat}/${id}`));
    for (const key of this.#keys(`${ROOT}message/${chat}/`)) if (!kept.has(key)) this.#drop(key);
    for (const message of messages) this.save(message);
  }

  /** Forget a chat; the function returned brings it back. @param {string} id */
  remove(id) {
    const keys = [...this.#keys(`${ROOT}chat/${id}`), ...this.#keys(`${ROOT}message/${id}/`)];
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

  /** @param {string} prefix @returns {any[]} */
  #all(prefix) {
    return this.#keys(prefix)
      .map((key) => parsed(this.#read(key)))
      .filter((value) => value && typeof value === 'object');
  }

  /** @param {string} prefix */
  #keys(prefix) {
    const found = [...this.#memory.keys()];
    try {
      found.push(...Object.keys(this.#area ?? {}));
    } catch {
      // What is in memory, then.
    }
    return [...new Set(found)].filter((key) => key.startsWith(prefix));
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
    for (;;) {
      try {
        if (!this.#area) throw new Error('no storage');
        this.#area.setItem(key, value);
        this.#memory.delete(key);
        return;
      } catch {
        if (this.#area && this.#makeRoom(key)) continue;
        if (!this.#memory.size) this.onfull();
        this.#memory.set(key, value);
        return;
      }
    }
  }

  /**
   * Drop the copy of the chat that is oldest, but not the one that is being written; false if there is none.
   * @param {string} writing
   */
  #makeRoom(writing) {
    const oldest = this.chats().findLast(
      ({ id, local }) => !local && !writing.includes(id) && this.#keys(`${ROOT}message/${id}/`).length,
    );
    if (!oldest) return false;
    for (const key of this.#keys(`${ROOT}message/${oldest.id}/`)) this.#drop(key);
    return true;
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
