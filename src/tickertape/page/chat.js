// @ts-check
/** One chat: a tree of messages, of which one path is shown, and how its messages begin. Pure but for ids and times. */
import { errorMessage, extrasOf, toolsOf } from './chunks.js';

/** @import { Conversation, TreeNode } from './api.js' */
/** @import { Extras, State, ToolCall } from './chunks.js' */

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
 * @property {Extras | null} [extras] what is beside its text
 * @property {string} model the requested one; "" for the server's default
 * @property {State | 'sending' | 'unsent' | 'gone'} state of an answer; a question is always completed
 * @property {string | null} finish
 * @property {string | null} error
 * @property {'next' | 'variant' | 'continue'} action how it was requested
 * @property {string} key the Idempotency-Key of the request for it
 * @property {string | null} stream
 * @property {string} cursor the last event id
 * @property {number} count events of this stream so far
 * @property {number} base characters that were there before this stream: a continued answer has several
 * @property {number} thought milliseconds until the first word
 * @property {number} took milliseconds until the end
 *
 * @typedef {object} ChatInfo
 * @property {string} id
 * @property {string} title
 * @property {number} at milliseconds, of the last change
 * @property {string | null} leaf the last message that is shown
 * @property {string} model
 * @property {string} system the system prompt
 * @property {boolean} local nothing of it has reached the server yet
 */

const OPEN = new Set(['sending', 'running', 'unsent']);

/** Whether it has ended. @param {Message} message */
export const isOver = (message) => !OPEN.has(message.state);

/** Whether the server may not have it yet. @param {Message} message */
export const isPending = (message) => message.state === 'sending' || message.state === 'unsent';

/** Whether an answer is still to be read, or to be requested. @param {Message} message */
export function isOpen(message) {
  return message.role === 'assistant' && !isOver(message) && message.state !== 'unsent';
}

/** A random id, also where `crypto.randomUUID` is missing (plain http on another machine). */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Partial<Message> & Pick<Message, 'chat' | 'parent' | 'role'>} given @returns {Message} */
export function message(given) {
  const state = given.role === 'user' ? 'completed' : 'sending';
  const ids = { id: newId(), at: Date.now(), key: newId(), action: /** @type {const} */ ('next'), state };
  const nothing = { text: '', reasoning: '', tools: [], extras: null, model: '', finish: null, error: null, stream: null };
  return { .../** @type {any} */ (ids), ...nothing, cursor: '', count: 0, base: 0, thought: 0, took: 0, ...given };
}

/** @param {Partial<ChatInfo>} [given] @returns {ChatInfo} */
export function chatInfo(given) {
  return { id: newId(), title: '', at: Date.now(), leaf: null, model: '', system: '', local: true, ...given };
}

/**
 * A message of the server's tree; null for a root without one.
 * @param {TreeNode} node @param {string} chat @returns {Message | null}
 */
function fromServer({ id, parent, message: given }, chat) {
  const role = given?.author?.role;
  if (!given || (role !== 'user' && role !== 'assistant')) return null;
  const text = (given.content?.parts?.join('') ?? '') + (given.details?.refusal ?? '');
  return message({
    id,
    chat,
    parent,
    role,
    text,
    tools: toolsOf(given.tool_calls),
    extras: extrasOf(given.details),
    at: Math.round(given.create_time * 1000),
    model: given.model ?? '',
    state: given.state ?? 'completed',
    finish: given.finish_reason ?? null,
    error: given.error ? errorMessage(given.error) : null,
    reasoning: given.reasoning ?? '',
    stream: given.streams?.at(-1) ?? null,
    base: given.state === 'running' ? text.length : 0,
    took: Math.round((given.seconds ?? 0) * 1000),
  });
}

export class Chat {
  /** @type {Map<string, Message>} */ #messages = new Map();
  /** @type {Map<string | null, Message[]> | null} made on first use */ #children = null;

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

  /**
   * Ask: a question after `parent`, and the answer that is to come.
   * @param {string} text @param {string | null} parent
   */
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

  /**
   * Whether it is on its way to the server: an answer that is not requested yet, and its question.
   * @param {Message} one @param {Message | null} reading
   */
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

/**
 * Whether as much of the stream has been read here as the server's message holds, or more.
 * @param {Message} mine @param {Message} fresh
 */
const isReadAlready = (mine, fresh) =>
  fresh.state === 'running' && fresh.stream === mine.stream && mine.state !== 'gone';

/**
 * Take what the server has settled; what only this browser knows stays.
 * @param {Message} mine @param {Message} fresh
 */
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
