// @ts-check
/** The chat that is open: asks, answers, stops, resumes, and keeps in step with the server. */
import { Answer } from './answer.js';
import { api, Refused } from './api.js';
import { Chat } from './chat.js';
import { chatInfo, newId } from './message.js';
import { Own } from './own.js';
import { settings } from './settings.js';
import { isOpen } from './taking.js';
import { WireLog } from './wirelog.js';
import { announcement } from './words.js';

/** @import { Message, Store } from './store.js' */
/** @import { Thread } from './thread.js' */

/** `stored`: the list of chats is another.
 * @typedef {Record<'changed' | 'wire' | 'stored', () => void> & { unlock: () => Promise<boolean>, say: (words: string) => void }} SessionHooks */

const AGAIN = 300; // milliseconds: a stream may be told of a moment before it can be read

export class Session {
  chat = new Chat();
  /** @type {Answer | null} the answer that is being read, or was read last */ run = null;
  log = new WireLog();
  own = new Own();
  #asked = 0; // how often the server was asked for a chat
  #follow = false; // whether the next answer is to show the newest path

  /** @param {Store} store @param {Thread} thread @param {SessionHooks} hooks */
  constructor(store, thread, hooks) {
    this.store = store;
    this.thread = thread;
    this.hooks = hooks;
  }

  get busy() { return this.run !== null && this.run.phase !== 'over'; }
  get announcement() { return this.run ? announcement(this.run.message, this.run.phase) : ''; }

  /** Show a chat: at once as it was last seen here, then as the server has it. Without an id a new one.
   * @param {string} [id] @returns {Promise<boolean>} whether there is such a chat */
  async show(id) {
    const info = id ? this.store.chat(id) : null;
    this.#follow = false;
    this.#leave();
    this.chat = new Chat(info ?? chatInfo(id ? { id, local: false } : {}), info ? this.store.messages(info.id) : []);
    this.#show();
    return id ? this.refresh(true) : true;
  }

  /** Take what the server has. @param {boolean} follow show the path that is newest there @returns {Promise<boolean>} as `show` */
  async refresh(follow) {
    const { chat, store, busy, own: { count } } = this;
    const asked = ++this.#asked;
    this.#follow ||= follow;
    try {
      const conversation = await api.read(chat.id);
      if (chat !== this.chat || asked !== this.#asked) return true; // what was asked for later is newer, whichever comes first
      if (count !== this.own.count || (busy && !this.busy)) return this.refresh(follow); // it may be older than an answer here
      chat.take(conversation, (this.busy && this.run?.message) || null, this.#follow && !this.busy);
      this.#follow = false;
      store.saveChat(chat.info);
      store.saveAll(chat.id, chat.messages);
    } catch (error) {
      if (!(error instanceof Refused)) return true; // no server: what is kept here can be read all the same
      if (error.status === 404 && !chat.info.local) store.remove(chat.id);
      else if (error.status !== 404) this.hooks.say(error.message);
      return error.status !== 404 || chat.info.local;
    }
    this.#show();
    return true;
  }

  /** @param {string} model */
  useModel(model) {
    const { info } = this.chat;
    info.model = model;
    if (!info.local) api.change(info.id, { model }).catch(() => {}); // the next question names it all the same
  }

  /** What changes with time alone. */
  tick() {
    if (this.run && this.busy && !document.hidden) this.thread.answer(this.run.message.id)?.tick(this.run);
  }

  /** Ask; instead of the question `editing`, if one is given. @param {string} text @param {string | null} editing @param {string} model */
  send(text, editing, model) {
    const { chat, store } = this;
    chat.info.model = model;
    const parent = editing === null ? chat.info.leaf : (chat.get(editing)?.parent ?? null);
    const { question, answer } = chat.ask(text, parent);
    store.saveChat(chat.info);
    store.save(question);
    this.#begin(answer);
  }

  /** Another answer to the same question; one that never began is asked for again. @param {Message} message @param {string} model */
  again(message, model) {
    const question = this.chat.get(message.parent);
    if (!question || this.busy) return;
    this.chat.info.model = model;
    if (message.state !== 'failed' || message.stream) return this.#begin(this.chat.answer(question, 'variant'));
    this.resend(Object.assign(message, { model, key: newId() }));
  }

  /** Go on where an answer was cut off: a stream of its own, appended to the same message. @param {Message} message */
  goOn(message) {
    if (this.busy) return;
    const { length: base } = message.text;
    Object.assign(message, { stream: null, cursor: '', count: 0, base, finish: null, key: newId(), action: 'continue' });
    this.resend(message);
  }

  /** What could not be sent: the same request with the same key, so that it is never answered twice. @param {Message} message */
  resend(message) {
    Object.assign(message, { state: 'sending', error: null, at: message.text ? message.at : Date.now() });
    this.#begin(message);
  }

  stop() {
    if (this.run) this.thread.answer(this.run.message.id)?.flush();
    this.run?.stop();
  }

  /** Try now, with a key, or by another transport. */
  reattach() {
    if (!this.run || !this.busy || this.run.phase === 'stopping') return;
    this.run.transport = settings.get('transport');
    this.run.attach();
  }

  /** Show another alternative. @param {Message} message @param {number} step */
  turnTo(message, step) {
    const { chat } = this;
    const siblings = chat.siblings(message);
    const other = siblings[siblings.indexOf(message) + step];
    this.#leave();
    chat.show(other);
    this.store.saveChat(chat.info);
    this.thread.turn(message, other, () => this.#show());
    if (chat.info.leaf && !chat.info.local) api.change(chat.id, { current_node: chat.info.leaf }).catch(() => {});
  }

  /** @param {Message} answer */
  #begin(answer) {
    this.store.saveChat(this.chat.info);
    this.store.save(answer);
    this.own.asked(answer.id);
    this.hooks.stored();
    this.#show();
  }

  #show() {
    const { last } = this.chat;
    const reads = last !== null && this.run?.message === last && (this.busy || !isOpen(last));
    if (!reads) {
      this.#leave();
      if (last && isOpen(last)) this.run = this.#reader(last);
    }
    this.thread.show(this.chat, this.run);
    if (!reads && this.run) this.run.attach();
    else this.hooks.changed();
  }

  #leave() {
    this.run?.detach();
    this.run = null;
  }

  /** @param {Message} message */
  #reader(message) {
    const { chat, store, thread } = this;
    const log = (this.log = new WireLog());
    const view = () => thread.answer(message.id);
    return new Answer(message, settings.get('transport'), {
      request: () => chat.request(message),
      save: (one) => store.save(one),
      text: (live, added) => view()?.write(live, added),
      reset: () => view()?.reset(),
      more: () => view()?.more(),
      change: () => this.run?.message === message && this.#changed(),
      refused: (words) => {
        if (words) this.hooks.say(words);
        setTimeout(() => chat === this.chat && this.refresh(false), AGAIN);
      },
      wire: (happening) => (log.add(happening, performance.now()), this.hooks.wire()),
      unlock: this.hooks.unlock,
    });
  }

  #changed() {
    const { info } = this.chat;
    if (info.local && this.run?.message.stream) {
      info.local = false;
      this.store.saveChat(info);
    }
    if (this.run) this.thread.refresh(this.chat, this.run);
    this.hooks.changed();
  }
}
