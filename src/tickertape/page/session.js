// @ts-check
/** The chat that is open: asks, answers, stops, resumes, and keeps in step with other tabs. */
import { Answer } from './answer.js';
import { Chat } from './chat.js';
import { settings } from './settings.js';
import { progress } from './store.js';
import { isOpen } from './taking.js';
import { WireLog } from './wirelog.js';
import { announcement } from './words.js';

/** @import { ChatInfo, LocalStore, Message } from './store.js' */
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

  /** What a screen reader is told. */
  get announcement() {
    return this.run ? announcement(this.run.message, this.run.phase) : '';
  }

  /** Show a chat, or a new one, and go on with its answer if that is not over. @param {ChatInfo | null} info */
  async show(info) {
    const messages = info ? await this.store.messages(info.id) : [];
    this.#leave();
    this.chat = new Chat(info ?? undefined, messages);
    this.#show();
  }

  /** Save what is not saved yet: before the page goes away. */
  saveNow() {
    this.run?.saveNow();
  }

  /** What changes with time alone. */
  tick() {
    if (this.run && this.busy && !document.hidden) this.thread.answer(this.run.message.id)?.tick(this.run);
  }

  /** Ask; instead of the question `editing`, if one is given. @param {string} text @param {string | null} editing @param {string} model */
  send(text, editing, model) {
    const { chat } = this;
    chat.info.model = model;
    const parent = editing === null ? chat.info.leaf : (chat.get(editing)?.parent ?? null);
    const { question, answer } = chat.ask(text, parent);
    this.store.saveChat(chat.info);
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
    const known = this.chat.get(stored.id);
    if (known && (progress(stored) <= progress(known) || (this.busy && this.run?.message === known))) return;
    const before = known?.text.length ?? 0;
    const message = this.chat.merge(stored);
    this.thread.answer(message.id)?.write(message.text.slice(before), false);
    // The tab that asked sends the question; once its stream has a name it is read here too.
    if (this.busy || (message.state === 'sending' && !message.stream)) this.#refresh();
    else this.#show();
  }

  /** @param {Message} answer */
  #begin(answer) {
    this.store.saveChat(this.chat.info);
    this.store.save(answer);
    this.hooks.stored();
    this.#show();
  }

  #show() {
    const { last } = this.chat;
    const reads = this.busy && this.run?.message === last;
    if (!reads) {
      this.#leave();
      if (last && isOpen(last)) this.run = this.#reader(last);
    }
    this.thread.show(this.chat, this.run);
    if (!reads && this.run) this.run.attach();
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
  #reader(message) {
    const { chat, store } = this;
    const log = (this.log = new WireLog());
    const view = () => this.thread.answer(message.id);
    return new Answer(message, settings.get('transport'), {
      request: () => chat.request(message),
      save: (one) => store.save(one),
      text: (text, live) => view()?.write(text, live),
      reset: () => view()?.reset(),
      more: () => view()?.more(),
      change: () => this.run?.message === message && this.#changed(),
      wire: (happening) => {
        log.add(happening, performance.now());
        this.hooks.wire();
      },
      unlock: this.hooks.unlock,
    });
  }

  #changed() {
    this.thread.refresh(this.chat, this.run);
    this.hooks.changed();
  }
}
