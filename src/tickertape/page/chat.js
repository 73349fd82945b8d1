// @ts-check
/** One conversation: a tree of messages, of which one path is shown. Pure but for its ids and times. */

/** @import { ChatInfo, Message } from './store.js' */

/** A random id, also where `crypto.randomUUID` is missing (plain http on another machine). */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Partial<Message> & Pick<Message, 'chat' | 'parent' | 'role'>} given @returns {Message} */
export function message(given) {
  const nothing = {
    text: '',
    reasoning: '',
    tools: [],
    model: '',
    finish: null,
    error: null,
    stream: null,
    cursor: '',
  };
  const state = given.role === 'user' ? 'completed' : 'sending';
  return { id: newId(), at: Date.now(), key: newId(), count: 0, thought: 0, took: 0, state, ...nothing, ...given };
}

export class Chat {
  /** @type {Map<string, Message>} */ #messages = new Map();

  /** @param {ChatInfo} [info] @param {Message[]} [messages] */
  constructor(info, messages = []) {
    /** @type {ChatInfo} */
    this.info = info ?? { id: newId(), title: '', at: Date.now(), leaf: null, model: '' };
    for (const one of messages) this.#messages.set(one.id, one);
    if (!this.#messages.has(this.info.leaf ?? '')) this.info.leaf = messages.at(-1)?.id ?? null;
  }

  get id() {
    return this.info.id;
  }

  get empty() {
    return this.#messages.size === 0;
  }

  /** @param {string | null} id */
  get(id) {
    return this.#messages.get(id ?? '') ?? null;
  }

  /** The messages that are shown, the oldest first. */
  get path() {
    /** @type {Message[]} */ const path = [];
    for (let one = this.get(this.info.leaf); one && !path.includes(one); one = this.get(one.parent)) path.unshift(one);
    return path;
  }

  /** The last message that is shown. */
  get last() {
    return this.get(this.info.leaf);
  }

  /** A message and its alternatives, in the order in which they came. @param {Message} one */
  siblings(one) {
    const same = [...this.#messages.values()].filter(({ parent, role }) => parent === one.parent && role === one.role);
    return same.sort((a, b) => a.at - b.at);
  }

  /** Show the newest path that leads through this message. @param {Message} one */
  show(one) {
    let leaf = one;
    for (;;) {
      const next = [...this.#messages.values()]
        .filter(({ parent }) => parent === leaf.id)
        .sort((a, b) => b.at - a.at)[0];
      if (!next) break;
      leaf = next;
    }
    this.info.leaf = leaf.id;
  }

  /** Ask: a question after `parent`, and the answer that is to come. @param {string} text @param {string | null} parent */
  ask(text, parent) {
    const question = message({ chat: this.id, parent, role: 'user', text });
    this.#messages.set(question.id, question);
    if (!this.info.title) this.info.title = titleOf(text);
    return { question, answer: this.answer(question) };
  }

  /** Another answer to the same question. @param {Message} question */
  answer(question) {
    const answer = message({ chat: this.id, parent: question.id, role: 'assistant', model: this.info.model });
    this.#messages.set(answer.id, answer);
    this.info.leaf = answer.id;
    this.info.at = answer.at;
    return answer;
  }

  /**
   * Take what another tab stored. A message that goes on from what is shown is shown; one that is known is brought
   * forward in place, as others hold on to it.
   * @param {Message} stored @returns {Message}
   */
  merge(stored) {
    const known = this.#messages.get(stored.id);
    if (known) return Object.assign(known, stored);
    this.#messages.set(stored.id, stored);
    if (stored.parent === this.info.leaf) this.info.leaf = stored.id;
    return stored;
  }

  /** What is sent to ask for this answer: always the same for the same answer. @param {Message} answer */
  request(answer) {
    const messages = [];
    for (let one = this.get(answer.parent); one; one = this.get(one.parent)) {
      if (one.text) messages.unshift({ role: one.role, content: one.text });
    }
    return answer.model ? { messages, model: answer.model } : { messages };
  }
}

/** A chat's first words as its title. @param {string} text */
export function titleOf(text) {
  const line =
    text
      .trim()
      .split('\n', 1)[0]
      .replace(/^[#>*\s`-]+/, '') || 'Untitled';
  return line.length <= 60 ? line : `${line.slice(0, 60).replace(/\s+\S*$/, '')}…`;
}
