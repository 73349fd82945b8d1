// @ts-check
/** A question as it stands on the page, and what questions and answers have in common. */
import { button, h } from './dom.js';

/** @import { Message } from './store.js' */
/** @import { Action } from './words.js' */

/**
 * @typedef {object} TurnHooks
 * @property {(what: Action | 'edit' | 'another', message: Message) => void} act
 * @property {(message: Message, step: number) => void} turnTo an alternative
 * @property {() => boolean} typing the setting
 */

/** ‹ 2/3 › where there are alternatives. @param {Message} message @param {Message[]} siblings @param {TurnHooks} hooks */
export function switcher(message, siblings, hooks) {
  if (siblings.length < 2) return null;
  const at = siblings.indexOf(message);
  const back = button('The one before', 'left', () => hooks.turnTo(message, -1), true);
  const next = button('The next one', 'right', () => hooks.turnTo(message, 1), true);
  back.disabled = at === 0;
  next.disabled = at === siblings.length - 1;
  return h('span', { className: 'switcher' }, back, h('span', null, `${at + 1}/${siblings.length}`), next);
}

// Made once: to make one takes longer than all that is done with it.
const CLOCK = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });
const CALENDAR = new Intl.DateTimeFormat([], { dateStyle: 'full', timeStyle: 'medium' });

/** The time of day. @param {number} at */
function clock(at) {
  const date = new Date(at);
  return h('time', { dateTime: date.toISOString(), title: CALENDAR.format(date) }, CLOCK.format(date));
}

export class QuestionView {
  #tools = h('div', { className: 'tools' });
  #edit = button('Edit', 'edit', () => this.hooks.act('edit', this.message), true);
  #shown = '';

  /** @param {Message} message @param {TurnHooks} hooks */
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    const text = h('div', { className: 'asked', dir: 'auto' }, message.text);
    this.element = h('article', { className: 'question', 'aria-label': 'Question' }, text, this.#tools);
    if (message.text.length > 1200 || message.text.split('\n').length > 12) this.#fold(text);
  }

  /** @param {Message[]} siblings */
  refresh(siblings) {
    const shown = `${siblings.map(({ id }) => id)}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    const alternatives = switcher(this.message, siblings, this.hooks);
    this.#tools.replaceChildren(clock(this.message.at), ...(alternatives ? [alternatives] : []), this.#edit);
  }

  close() {}

  /** Long questions are folded. @param {HTMLElement} text */
  #fold(text) {
    text.classList.add('folded');
    const more = h('button', { type: 'button', className: 'more', 'aria-expanded': 'false' }, 'Show all');
    more.onclick = () => {
      const folded = text.classList.toggle('folded');
      more.setAttribute('aria-expanded', String(!folded));
      more.textContent = folded ? 'Show all' : 'Show less';
    };
    text.after(more);
  }
}
