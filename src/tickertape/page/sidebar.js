// @ts-check
/** The list of chats, and the way back from deleting one. */
import { button, byId, h } from './dom.js';

/** @import { ChatInfo, LocalStore } from './store.js' */

/** Milliseconds: how long a deleted chat can be brought back. */
const UNDO = 8000;
const DAY = 86_400_000;

/** @param {number} at */
function day(at) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (at >= today) return 'Today';
  if (at >= today - DAY) return 'Yesterday';
  return at >= today - 6 * DAY ? 'This week' : 'Before';
}

export class Sidebar {
  #list = byId('chats');
  #toast = byId('toast');
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {LocalStore} store @param {() => string} current @param {() => void} gone the open chat was deleted */
  constructor(store, current, gone) {
    this.store = store;
    this.current = current;
    this.gone = gone;
  }

  async show() {
    const chats = await this.store.chats();
    const current = this.current();
    /** @type {Map<string, ChatInfo[]>} */ const days = new Map();
    for (const chat of chats) days.set(day(chat.at), [...(days.get(day(chat.at)) ?? []), chat]);
    const groups = [...days].map(([name, list]) =>
      h(
        'section',
        null,
        h('h2', null, name),
        h('ul', null, ...list.map((chat) => this.#row(chat, chat.id === current))),
      ),
    );
    const nothing = h('p', { className: 'nothing' }, 'Your chats are kept here, in this browser.');
    this.#list.replaceChildren(...(groups.length ? groups : [nothing]));
  }

  /** @param {ChatInfo} chat @param {boolean} current */
  #row(chat, current) {
    const link = h('a', { href: `#/c/${chat.id}`, 'aria-current': current && 'page', dir: 'auto' }, chat.title);
    const remove = button(`Delete “${chat.title}”`, 'trash', () => this.#remove(chat), true);
    return h('li', null, link, remove);
  }

  /** @param {ChatInfo} chat */
  #remove(chat) {
    const bringBack = this.store.remove(chat.id);
    if (chat.id === this.current()) this.gone();
    this.show();
    const undo = button('Undo', '', () => {
      bringBack();
      this.say('');
      location.hash = `#/c/${chat.id}`;
      this.show();
    });
    this.say('Chat deleted.', undo);
  }

  /** A short message at the foot of the page. @param {string} words @param {HTMLElement} [action] */
  say(words, action) {
    clearTimeout(this.#timer);
    this.#toast.hidden = !words;
    this.#toast.replaceChildren(h('span', null, words), ...(action ? [action] : []));
    if (words) this.#timer = setTimeout(() => (this.#toast.hidden = true), UNDO);
  }
}
