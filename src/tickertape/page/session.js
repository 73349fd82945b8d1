// @ts-check
/** The chat that is open: asks, answers, stops, resumes, and keeps in step with other tabs. */
import { Answer } from './answer.js';
import { Chat } from './chat.js';
import { settings } from './settings.js';
import { isOpen } from './taking.js';
import { WireLog } from './wirelog.js';

/** @import { LocalStore, Message } from './store.js' */
/** @import { Thread } from './thread.js' */

/**
 * @typedef {object} SessionHooks
 * @property {() => Promise<boolean>} unlock
 * @property {() => void} changed something of the chat, or the phase of its answer
 * @property {() => void} wire
 * @property {() => void} stored the list of chats is another
 */

export class Session {
  chat = new Chat();
  /** @type {Answer | null} the answer that is being read, or was read last */ run = null;
  log = new WireLog();

  /** @param {LocalStore} store @param {Thread} thread @param {SessionHooks} hooks */
  constructor(store, thread, hooks) {
    this.store = store;
    this.thread = thread;
    this.hooks = hooks;
  }

  get busy() {
    return this.run !== null && this.run.phase !== 'over';
  }

  /** Show a chat, and go on with its answer if that is not over. @param {Chat} chat */
  open(chat) {
    this.#leave();
    this.chat = chat;
    this.#show();
  }

  /** Ask; instead of the question `editing`, if one is given. @param {string} text @param {string | null} editing @param {string} model */
  send(text, editing, model) {
    const { chat } = this;
    chat.info.model = model;
    const parent = editing === null ? chat.info.leaf : (chat.get(editing)?.parent ?? null);
    const { question, answer } = chat.ask(text, parent);
    this.store.save(question);
    this.#begin(answer);
  }

  /** Another answer to the same question. @param {Message} message @param {string} model */
  again(message, model) {
    const question = this.chat.get(message.parent);
    if (!question || this.busy) return;
    this.chat.info.model = model;
    this.#begin(this.chat.answer(question));
  }

  /** What could not be sent: the same request with the same key, so that it is never answered twice. @param {Message} message */
  resend(message) {
    Object.assign(message, { state: 'sending', error: null, at: Date.now() });
    this.#begin(message);
  }

  stop() {
    if (this.run) this.thread.answer(this.run.message.id)?.flush();
    this.run?.stop();
  }

  /** Try now, with a key that was given, or with another transport. */
  reattach() {
    if (!this.run || !this.busy || this.run.phase === 'stopping') return;
    this.run.transport = settings.get('transport');
    this.run.attach();
  }

  /** Show another alternative. @param {Message} message @param {number} step */
  turnTo(message, step) {
    const siblings = this.chat.siblings(message);
    const other = siblings[siblings.indexOf(message) + step];
    if (!other) return;
    this.#leave();
    this.chat.show(other);
    this.store.saveChat(this.chat.info);
    this.#show();
  }

  /** What another tab stored. @param {Message} stored */
  merge(stored) {
    if (stored.chat !== this.chat.id) return;
    if (this.busy && this.run?.message.id === stored.id) return; // we read it ourselves
    const known = this.chat.get(stored.id);
    const before = known?.text.length ?? 0;
    const message = this.chat.merge(stored);
    if (known && message.text.length >= before)
      this.thread.answer(message.id)?.write(message.text.slice(before), false);
    else this.thread.answer(message.id)?.reset();
    // The tab that asked sends the question; once its stream has a name we read it too.
    if (this.busy || (message.state === 'sending' && !message.stream)) this.#refresh();
    else this.#show();
  }

  /** @param {Message} answer */
  #begin(answer) {
    this.store.save(answer);
    this.store.saveChat(this.chat.info);
    this.hooks.stored();
    this.#show();
  }

  #show() {
    const { last } = this.chat;
    const reads = this.busy && this.run?.message === last;
    if (!reads) this.#leave();
    this.thread.show(this.chat, this.run);
    if (!reads && last && isOpen(last)) this.#read(last);
    else this.hooks.changed();
  }

  #refresh() {
    this.thread.show(this.chat, this.run);
    this.hooks.changed();
  }

  #leave() {
    this.run?.detach();
    this.run = null;
  }

  /** @param {Message} message */
  #read(message) {
    const { chat, store } = this;
    const log = (this.log = new WireLog());
    const view = () => this.thread.answer(message.id);
    this.run = new Answer(message, settings.get('transport'), {
      request: () => chat.request(message),
      save: (one) => store.save(one),
      text: (text, live) => view()?.write(text, live),
      reset: () => view()?.reset(),
      change: () => this.run?.message === message && this.#changed(),
      wire: (happening) => {
        log.add(happening, performance.now());
        this.hooks.wire();
      },
      unlock: this.hooks.unlock,
    });
    this.run.attach();
  }

  #changed() {
    this.thread.refresh(this.chat, this.run);
    this.hooks.changed();
  }
}
