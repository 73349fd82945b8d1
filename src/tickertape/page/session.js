// @ts-check
/** The chat that is open: asks, answers, stops, resumes, and keeps in step with the server. */
import { AnswerReader } from './answer-reader.js';
import { api, Refused, signIn } from './api.js';
import { Chat, chatInfo, isOpen, isOver, newId } from './chat.js';
import { settings } from './settings.js';
import { announcement } from './status-text.js';
import { WireLog } from './wire-log.js';

/** @import { Message } from './chat.js' */
/** @import { LocalStore } from './local-store.js' */
/** @import { Change } from './remote-changes.js' */
/** @import { Thread } from './thread.js' */

/** `onStored`: the list of chats has changed.
 * @typedef {Record<'onChange' | 'onWire' | 'onStored', () => void> & { notify: (text: string) => void }} SessionHooks */

const AGAIN = 300; // milliseconds: a stream may be announced a moment before it can be read

export class Session {
  chat = new Chat();
  /** @type {AnswerReader | null} of the answer that is being read, or that was read last */ reader = null;
  log = new WireLog();
  #echoes = new EchoFilter();
  #requested = 0; // how often a chat was requested from the server
  #follow = false; // whether the next answer is to show the newest path

  /** @param {LocalStore} store @param {Thread} thread @param {SessionHooks} hooks */
  constructor(store, thread, hooks) {
    this.store = store;
    this.thread = thread;
    this.hooks = hooks;
  }

  get busy() { return this.reader !== null && this.reader.phase !== 'over'; }
  get announcement() { return this.reader ? announcement(this.reader.message, this.reader.phase) : ''; }

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

  /**
   * Read the chat from the server.
   * @param {boolean} follow show the path that is newest there @returns {Promise<boolean>} as `show`
   */
  async refresh(follow) {
    const { chat, store, busy } = this;
    const { count } = this.#echoes;
    const request = ++this.#requested;
    this.#follow ||= follow;
    try {
      const conversation = await api.read(chat.id);
      if (chat !== this.chat || request !== this.#requested) return true; // a later reply is newer, whichever arrives first
      // It may be older than an answer that was requested or has ended here since.
      if (count !== this.#echoes.count || (busy && !this.busy)) return this.refresh(follow);
      chat.take(conversation, (this.busy && this.reader?.message) || null, this.#follow && !this.busy);
      this.#follow = false;
      store.saveChat(chat.info);
      store.saveAll(chat.id, chat.messages);
    } catch (error) {
      if (!(error instanceof Refused)) return true; // no server: what is kept here can be read all the same
      if (error.status === 404 && !chat.info.local) store.remove(chat.id);
      else if (error.status !== 404) this.hooks.notify(error.message);
      return error.status !== 404 || chat.info.local;
    }
    this.#show();
    return true;
  }

  /** Whether a change of the feed says nothing new about this chat. @param {Change} change */
  isEcho(change) {
    return this.#echoes.isEcho(change, this.chat.get(change.message_id ?? ''));
  }

  /** @param {string} model */
  useModel(model) {
    const { info } = this.chat;
    info.model = model;
    if (!info.local) api.change(info.id, { model }).catch(() => {}); // the next question names it all the same
  }

  /** Update what changes with time alone. */
  tick() {
    if (this.reader && this.busy && !document.hidden) this.thread.answer(this.reader.message.id)?.tick(this.reader);
  }

  /**
   * Ask; instead of the question `editing`, if one is given.
   * @param {string} text @param {string | null} editing @param {string} model
   */
  send(text, editing, model) {
    const { chat, store } = this;
    chat.info.model = model;
    const parent = editing === null ? chat.info.leaf : (chat.get(editing)?.parent ?? null);
    const { question, answer } = chat.ask(text, parent);
    store.saveChat(chat.info);
    store.save(question);
    this.#begin(answer);
  }

  /**
   * Ask for another answer to the same question; one that never began is requested again.
   * @param {Message} message @param {string} model
   */
  regenerate(message, model) {
    const question = this.chat.get(message.parent);
    if (!question || this.busy) return;
    this.chat.info.model = model;
    if (message.state !== 'failed' || message.stream) return this.#begin(this.chat.answer(question, 'variant'));
    this.resend(Object.assign(message, { model, key: newId() }));
  }

  /** Continue an answer that was cut off: a new stream, appended to the same message. @param {Message} message */
  continueAnswer(message) {
    if (this.busy) return;
    const { length: base } = message.text;
    Object.assign(message, { stream: null, cursor: '', count: 0, base, finish: null, key: newId(), action: 'continue' });
    this.resend(message);
  }

  /**
   * Send again what could not be sent: the same request with the same key, so that it is never answered twice.
   * @param {Message} message
   */
  resend(message) {
    Object.assign(message, { state: 'sending', error: null, at: message.text ? message.at : Date.now() });
    this.#begin(message);
  }

  stop() {
    if (this.reader) this.thread.answer(this.reader.message.id)?.flush();
    this.reader?.stop();
  }

  /** Try now, with a key, or by another transport. */
  reconnect() {
    if (!this.reader || !this.busy || this.reader.phase === 'stopping') return;
    this.reader.transport = settings.get('transport');
    this.reader.attach();
  }

  /** Show another alternative. @param {Message} message @param {number} step */
  switchTo(message, step) {
    const { chat } = this;
    const siblings = chat.siblings(message);
    const other = siblings[siblings.indexOf(message) + step];
    this.#leave();
    chat.show(other);
    this.store.saveChat(chat.info);
    this.thread.switchTo(message, other, () => this.#show());
    if (chat.info.leaf && !chat.info.local) api.change(chat.id, { current_node: chat.info.leaf }).catch(() => {});
  }

  /** @param {Message} answer */
  #begin(answer) {
    this.store.saveChat(this.chat.info);
    this.store.save(answer);
    this.#echoes.expect(answer.id);
    this.hooks.onStored();
    this.#show();
  }

  #show() {
    const { last } = this.chat;
    const reads = last !== null && this.reader?.message === last && (this.busy || !isOpen(last));
    if (!reads) {
      this.#leave();
      if (last && isOpen(last)) this.reader = this.#readerOf(last);
    }
    this.thread.show(this.chat, this.reader);
    if (!reads && this.reader) this.reader.attach();
    else this.hooks.onChange();
  }

  #leave() {
    this.reader?.detach();
    this.reader = null;
  }

  /** @param {Message} message */
  #readerOf(message) {
    const { chat, store, thread } = this;
    const log = (this.log = new WireLog());
    const view = () => thread.answer(message.id);
    return new AnswerReader(message, settings.get('transport'), {
      request: () => chat.request(message),
      save: (one) => store.save(one),
      onText: (live, added) => view()?.write(live, added),
      onReset: () => view()?.reset(),
      onParts: () => view()?.showParts(),
      onChange: () => this.reader?.message === message && this.#changed(),
      onRefused: (text) => {
        if (text) this.hooks.notify(text);
        setTimeout(() => chat === this.chat && this.refresh(false), AGAIN);
      },
      onWire: (event) => (log.add(event, performance.now()), this.hooks.onWire()),
      signIn,
    });
  }

  #changed() {
    const { info } = this.chat;
    if (info.local && this.reader?.message.stream) {
      info.local = false;
      this.store.saveChat(info);
    }
    if (this.reader) this.thread.refresh(this.chat, this.reader);
    this.hooks.onChange();
  }
}

/**
 * Recognises changes on the feed that follow from what this tab requested: to read the whole chat again for them would
 * be in vain.
 */
export class EchoFilter {
  /** @type {Set<string>} answers that were requested here, until the feed reports their end */ #expected = new Set();

  /** How many were requested. */
  count = 0;

  /** @param {string} answer */
  expect(answer) {
    this.count++;
    this.#expected.add(answer);
  }

  /**
   * Whether a change says nothing new here.
   * @param {Change} change @param {Message | null} message the one that it is about
   */
  isEcho({ what, message_id: id = '' }, message) {
    if (what === 'message') return this.#expected.has(id);
    const read = message !== null && message.stream !== null && message.state !== 'gone' && isOver(message);
    return what === 'ended' && this.#expected.delete(id) && read;
  }
}
