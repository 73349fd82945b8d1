// @ts-check
/** One conversation: a tree of messages, of which one path is shown. Pure but for its ids and times. */
import { chatInfo, fromServer, message } from './message.js';
import { isPending } from './store.js';

/** @import { Conversation } from './api.js' */
/** @import { ChatInfo, Message } from './store.js' */

export class Chat {
  /** @type {Map<string, Message>} */ #messages = new Map();
  /** @type {Map<string | null, Message[]> | null} made when it is asked for */ #children = null;

  /** @param {ChatInfo} [info] @param {Message[]} [messages] */
  constructor(info, messages = []) {
    this.info = info ?? chatInfo();
    for (const one of messages) this.#messages.set(one.id, one);
    if (!this.#messages.has(this.info.leaf ?? '')) this.info.leaf = messages.at(-1)?.id ?? null;
  }

  get id() {
    return this.info.id;
  }

  get empty() {
    return this.#messages.size === 0;
  }

  get messages() {
    return [...this.#messages.values()];
  }

  /** @param {string | null} id */
  get(id) {
    return this.#messages.get(id ?? '') ?? null;
  }

  /** The messages that are shown, the oldest first. */
  get path() {
    /** @type {Message[]} */ const path = [];
    const seen = new Set();
    for (let one = this.get(this.info.leaf); one && !seen.has(one); one = this.get(one.parent)) {
      seen.add(one);
      path.push(one);
    }
    return path.reverse();
  }

  /** The last message that is shown. */
  get last() {
    return this.get(this.info.leaf);
  }

  /** A message and its alternatives, in the order in which they came. @param {Message} one */
  siblings(one) {
    return this.#after(one.parent).filter(({ role }) => role === one.role);
  }

  /** What follows a message, the oldest first. @param {string | null} parent @returns {Message[]} */
  #after(parent) {
    if (!this.#children) {
      this.#children = new Map();
      for (const one of this.messages.sort((a, b) => a.at - b.at)) {
        const list = this.#children.get(one.parent);
        if (list) list.push(one);
        else this.#children.set(one.parent, [one]);
      }
    }
    return this.#children.get(parent) ?? [];
  }

  /** Show the newest path that leads through this message. @param {Message} one */
  show(one) {
    let leaf = one;
    for (;;) {
      const next = this.#after(leaf.id).at(-1);
      if (!next) break;
      leaf = next;
    }
    this.info.leaf = leaf.id;
  }

  /** Ask: a question after `parent`, and the answer that is to come. @param {string} text @param {string | null} parent */
  ask(text, parent) {
    const question = message({ chat: this.id, parent, role: 'user', text });
    this.#add(question);
    if (!this.info.title) this.info.title = titleOf(text);
    return { question, answer: this.answer(question, 'next') };
  }

  /** An answer to this question. @param {Message} question @param {'next' | 'variant'} action */
  answer(question, action) {
    const { model } = this.info;
    const answer = message({ chat: this.id, parent: question.id, role: 'assistant', model, action });
    this.#add(answer);
    this.info.leaf = answer.id;
    this.info.at = answer.at;
    return answer;
  }

  /** @param {Message} one */
  #add(one) {
    this.#messages.set(one.id, one);
    this.#children = null;
  }

  /**
   * Take what the server has. Messages that are known change in place, as others hold on to them; one that is being
   * read here knows better, and what has not reached the server yet stays.
   * @param {Conversation} conversation @param {Message | null} reading @param {boolean} follow show the path that the server's
   * other readers see
   */
  take(conversation, reading, follow) {
    const { info } = this;
    const given = Object.values(conversation.mapping).map((node) => fromServer(node, info.id));
    const fresh = given.filter((one) => one !== null);
    const known = new Set(fresh.map(({ id }) => id));
    for (const one of this.messages) if (!known.has(one.id) && !this.#isOurs(one, reading)) this.#messages.delete(one.id);
    for (const one of fresh) {
      const mine = this.#messages.get(one.id);
      if (!mine) this.#add(one);
      else if (mine !== reading && !isReadAlready(mine, one)) renew(mine, one);
    }
    this.#children = null;
    const { title, model, system, update_time: updated } = conversation;
    Object.assign(info, { title, model: model ?? info.model, system: system ?? '', at: updated * 1000, local: false });
    const mine = this.get(info.leaf);
    const stays = mine && (mine === reading || isPending(mine) || !follow);
    if (!stays && this.get(conversation.current_node)) info.leaf = conversation.current_node;
    if (!this.get(info.leaf)) info.leaf = fresh.at(-1)?.id ?? null;
  }

  /** Whether it is on its way to the server: an answer that waits to be asked for, and its question. @param {Message} one @param {Message | null} reading */
  #isOurs(one, reading) {
    const waits = (/** @type {Message} */ other) => other === reading || isPending(other);
    return waits(one) || this.messages.some((other) => other.parent === one.id && waits(other));
  }

  /** What is sent to ask for this answer: always the same for the same answer. @param {Message} answer */
  request(answer) {
    const { action, model } = answer;
    const question = this.get(answer.parent);
    const ids = { action, conversation_id: this.id, ...(model && { model }) };
    if (action === 'continue') return { ...ids, parent_message_id: answer.id };
    const asked = { ...ids, message_id: answer.id, parent_message_id: answer.parent };
    if (action === 'variant' || !question) return asked;
    const { id, role, text: content } = question;
    return { ...asked, parent_message_id: question.parent, messages: [{ id, role, content }] };
  }
}

/** Whether we have read as much of a stream as the server has told, or more. @param {Message} mine @param {Message} fresh */
const isReadAlready = (mine, fresh) =>
  fresh.state === 'running' && fresh.stream === mine.stream && mine.state !== 'gone';

/** Take what the server has settled; what only this browser knows stays. @param {Message} mine @param {Message} fresh */
function renew(mine, fresh) {
  const { key, action, thought, took } = mine;
  Object.assign(mine, fresh, { key, action, thought, took: fresh.took || took });
}

/** A chat's first words as its title, until the server has given it one. @param {string} text */
export function titleOf(text) {
  const line =
    text
      .trim()
      .split('\n', 1)[0]
      .replace(/^[#>*\s`-]+/, '') || 'Untitled';
  return line.length <= 60 ? line : `${line.slice(0, 60).replace(/\s+\S*$/, '')}…`;
}
