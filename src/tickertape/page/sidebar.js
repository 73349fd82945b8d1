// @ts-check
/** The list of chats on the page: opened, searched, renamed, deleted with undo; and the short messages of the page. */
import { BASE } from './api.js';
import { button, byId, h } from './dom.js';
import { go } from './router.js';
import { settings } from './settings.js';

/** @import { ChatList, Row } from './chat-list.js' */

/** Milliseconds for which a deletion can be undone. */
const UNDO = 8000;
const DAY = 86_400_000;
const TYPING = 150; // milliseconds without a key, before the server is asked

/** From this width on there is room for the list beside the conversation. */
const WIDE = matchMedia('(min-width: 1080px)');

/** @param {number} at */
function day(at) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (at >= today) return 'Today';
  if (at >= today - DAY) return 'Yesterday';
  return at >= today - 6 * DAY ? 'This week' : 'Before';
}

export class Sidebar {
  #panel = byId('sidebar');
  #opener = byId('chats-open');
  #backdrop = byId('backdrop');
  #list = byId('chats');
  #toast = byId('toast');
  #field = /** @type {HTMLInputElement} */ (byId('search'));
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #typing;

  /** @param {ChatList} chats @param {() => string} current @param {() => void} gone the open chat was deleted */
  constructor(chats, current, gone) {
    this.chats = chats;
    this.current = current;
    this.gone = gone;
    this.#field.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => chats.search(this.#field.value), TYPING);
    });
    this.#field.addEventListener('keydown', (event) => this.#key(event));
    this.#list.addEventListener('keydown', (event) => this.#walk(event));
    this.#opener.addEventListener('click', () => this.#toggle(this.#panel.hidden));
    for (const one of [byId('chats-close'), this.#backdrop]) one.addEventListener('click', () => this.#toggle(false));
    this.#panel.addEventListener('keydown', ({ key }) => key === 'Escape' && !WIDE.matches && this.#toggle(false));
    this.#panel.addEventListener('click', ({ target }) => {
      if (!WIDE.matches && target instanceof Element && target.closest('a, #new')) this.#setOpen(false);
    });
    const settle = () => this.#setOpen(WIDE.matches && settings.get('chats') !== 'closed');
    WIDE.addEventListener('change', settle);
    settle();
  }

  /** Open it and go to its search field. */
  search() {
    if (this.#panel.hidden) this.#toggle(true);
    this.#field.focus();
  }

  /** Open or close it, as the person wants. @param {boolean} open */
  #toggle(open) {
    if (WIDE.matches) settings.set('chats', open ? 'open' : 'closed');
    this.#setOpen(open);
    if (open && !WIDE.matches) byId('new').focus();
    if (!open) this.#opener.focus();
  }

  /** Beside the page where there is room, over it where there is none. @param {boolean} open */
  #setOpen(open) {
    this.#panel.hidden = !open;
    this.#backdrop.hidden = !open || WIDE.matches;
    this.#opener.setAttribute('aria-expanded', String(open));
    document.body.classList.toggle('with-chats', open);
  }

  show() {
    if (this.#list.querySelector('input')) return; // a title is being written
    const { chats } = this;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const place = focused?.closest('li')?.querySelector('a')?.getAttribute('href')?.split('#')[0];
    const days = new Map();
    for (const row of chats.rows) {
      const name = chats.query ? 'Found' : day(row.at);
      days.set(name, [...(days.get(name) ?? []), this.#row(row)]);
    }
    const groups = [...days].map(([name, rows]) => h('section', null, h('h2', null, name), h('ul', null, ...rows)));
    const more = chats.rows.length < chats.total && button('Older chats', '', () => chats.more());
    const note = this.#note();
    this.#list.replaceChildren(...[...groups, more, note && h('p', { className: 'nothing' }, note)].filter((one) => one instanceof Node));
    if (place) /** @type {HTMLElement | null} */ (this.#list.querySelector(`a[href^="${place}"]`))?.focus();
  }

  #note() {
    const { rows, query, offline } = this.chats;
    if (offline) return 'The server does not answer. What was read here before can still be read.';
    if (rows.length) return '';
    return query ? `Nothing found for “${query}”.` : 'Your chats are kept here, on your server.';
  }

  /** @param {Row} row */
  #row(row) {
    const current = row.id === this.current();
    const title = row.title || 'New chat';
    const match = row.snippet && h('small', null, ...marked(row.snippet, this.chats.query));
    const href = `${BASE}/c/${row.id}${row.match && `#${row.match}`}`;
    const link = h('a', { href, 'aria-current': current && 'page', dir: 'auto' }, title, match);
    if (row.running) link.prepend(h('i', { className: 'live', title: 'being answered' }));
    const rename = button(`Rename “${title}”`, 'edit', () => this.#rename(row, link), true);
    const remove = button(`Delete “${title}”`, 'trash', () => this.remove(row.id), true);
    return h('li', null, link, rename, remove);
  }

  /** The title as a field, in its place. @param {Row} row @param {HTMLElement} link */
  #rename(row, link) {
    const field = h('input', { value: row.title, 'aria-label': 'Title', maxLength: 200, dir: 'auto' });
    let over = false;
    const done = (/** @type {boolean} */ kept) => {
      if (over) return;
      over = true;
      const title = field.value.trim();
      field.replaceWith(link);
      if (kept && title && title !== row.title) this.rename(row.id, title);
      else this.show();
      /** @type {HTMLElement | null} */ (this.#list.querySelector(`a[href^="${BASE}/c/${row.id}"]`))?.focus();
    };
    field.addEventListener('blur', () => done(true));
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === 'Escape') done(event.key === 'Enter');
      event.stopPropagation();
    });
    link.replaceWith(field);
    field.select();
  }

  /** @param {string} id @param {string} title */
  rename(id, title) {
    this.chats.rename(id, title).catch((error) => this.notify(`It could not be renamed. ${error.message}`));
  }

  /** @param {string} id */
  async remove(id) {
    try {
      const restore = await this.chats.remove(id);
      if (id === this.current()) this.gone();
      const undo = button('Undo', '', () => {
        this.notify('');
        restore().then(
          () => go(id),
          (error) => this.notify(`It could not be brought back. ${error.message}`),
        );
      });
      this.notify('Chat deleted.', undo);
    } catch (error) {
      this.notify(`It could not be deleted. ${/** @type {Error} */ (error).message}`);
    }
  }

  /** A short message at the foot of the page. @param {string} text @param {HTMLElement} [action] */
  notify(text, action) {
    clearTimeout(this.#timer);
    this.#toast.hidden = !text;
    this.#toast.replaceChildren(h('span', null, text), ...(action ? [action] : []));
    if (text) this.#timer = setTimeout(() => (this.#toast.hidden = true), UNDO);
  }

  /** In the search field. @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === 'Escape' && this.#field.value) {
      event.stopPropagation();
      event.preventDefault();
      this.#field.value = '';
      this.chats.search('');
    } else if (event.key === 'Enter' || event.key === 'ArrowDown') {
      event.preventDefault();
      const first = this.#list.querySelector('a');
      if (event.key === 'Enter') first?.click();
      else first?.focus();
    }
  }

  /** Arrows lead through the list. @param {KeyboardEvent} event */
  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...this.#list.querySelectorAll('a')];
    const at = links.findIndex((link) => link === document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    (links[at + step] ?? (step < 0 ? this.#field : links[at])).focus();
  }
}

/** The place that a search found, with the words highlighted. @param {string} text @param {string} query */
function marked(text, query) {
  const at = text.toLowerCase().indexOf(query.toLowerCase());
  if (at < 0 || !query) return [text];
  const end = at + query.length;
  return [text.slice(0, at), h('mark', null, text.slice(at, end)), text.slice(end)];
}
