// @ts-check
/**
 * The conversation on the page: one view for each message of the path that is shown, from its end up to where someone
 * looks. An answer takes a hundred kilobytes of layout, and a chat may have hundreds.
 */
import { setOff } from './found.js';
import { QuestionView } from './question.js';
import { AnswerView } from './turn.js';

/** @import { Answer } from './answer.js' */
/** @import { Chat } from './chat.js' */
/** @import { TurnHooks } from './question.js' */
/** @import { Sticky } from './scroll.js' */
/** @import { Message } from './store.js' */

/** Messages that stand on the page, and how many more come when their first is scrolled to. */
const MOST = 60;
const MORE = 20;
/** How far above the view they are when they come. */
const AHEAD = '1200px';
/** Milliseconds: by then a screen reader has been told of a change. */
const TOLD = 500;

export class Thread {
  /** @type {Map<string, QuestionView | AnswerView>} */ #views = new Map();
  /** @type {Chat | null} */ #chat = null;
  /** @type {Answer | null} */ #run = null;
  /** @type {string | undefined} the first message that stands on the page */ #first;
  /** @type {string | undefined} and the last */ #last;

  /** @param {HTMLElement} element @param {HTMLElement} earlier the button for more, above it @param {Sticky} sticky
   * @param {TurnHooks} hooks */
  constructor(element, earlier, sticky, hooks) {
    this.element = element;
    this.earlier = earlier;
    this.sticky = sticky;
    this.hooks = hooks;
    this.near = new IntersectionObserver((seen) => seen.at(-1)?.isIntersecting && this.#showMore(MORE), {
      root: sticky.scroller,
      rootMargin: `${AHEAD} 0px 0px`,
    });
    this.near.observe(earlier);
    earlier.onclick = () => this.#showMore(MORE);
    addEventListener('beforeprint', () => this.#showMore(Infinity));
  }

  /** Show the chat's path; views that stay are kept. @param {Chat} chat @param {Answer | null} run */
  show(chat, run) {
    const { path } = chat;
    if (chat !== this.#chat) setOff(null, '');
    const before = this.#first;
    const shown = path.slice(this.#from(path));
    [this.#chat, this.#run, this.#first, this.#last] = [chat, run, shown[0]?.id, path.at(-1)?.id];
    this.earlier.hidden = shown.length === path.length;
    const wanted = new Set(shown.map(({ id }) => id));
    for (const [id, view] of this.#views) {
      if (wanted.has(id) && chat.get(id) === view.message) continue;
      view.close();
      view.element.remove();
      this.#views.delete(id);
    }
    for (const [i, message] of shown.entries()) {
      let view = this.#views.get(message.id);
      if (!view) {
        view = message.role === 'user' ? new QuestionView(message, this.hooks) : new AnswerView(message, this.hooks);
        this.#views.set(message.id, view);
      }
      if (this.element.children[i] !== view.element) this.element.insertBefore(view.element, this.element.children[i]);
    }
    for (const view of this.#views.values()) {
      view.refresh(chat.siblings(view.message), run?.message === view.message ? run : null);
    }
    // What was let go above moves the view, which must not be taken for a hand's doing.
    if (this.#first !== before) this.sticky.follow();
    this.#busy(run);
  }

  /** Where on the path to begin: where it began before, so that nothing vanishes that is looked at. Who is at the end when
   * something is added to it does not look at what is far above. @param {Message[]} path */
  #from(path) {
    const at = (/** @type {string | undefined} */ wanted) => path.findIndex(({ id }) => id === wanted);
    const [first, last, latest] = [at(this.#first), at(this.#last), Math.max(0, path.length - MOST)];
    if (first < 0) return latest;
    const grown = last >= 0 && last < path.length - 1;
    return grown && this.sticky.held && latest - first >= MORE ? latest : first;
  }

  /** Show this many more of what came before. @param {number} count */
  #showMore(count) {
    const chat = this.#chat;
    if (!chat || this.earlier.hidden) return;
    const { path } = chat;
    this.#first = path[Math.max(0, path.findIndex(({ id }) => id === this.#first) - count)].id;
    this.element.ariaLive = 'off'; // nothing new was said
    const pressed = document.activeElement === this.earlier;
    this.sticky.keep(() => this.show(chat, this.#run));
    if (pressed && this.earlier.hidden) focus(/** @type {HTMLElement} */ (this.element.firstElementChild));
    setTimeout(() => (this.element.ariaLive = null), TOLD);
    // If it is still near, say so again.
    this.near.unobserve(this.earlier);
    this.near.observe(this.earlier);
  }

  /** Show a message of the path, the words set off that were searched for. @param {string} id @param {string} words */
  reveal(id, words) {
    const path = this.#chat?.path ?? [];
    const [at, first] = [id, this.#first].map((wanted) => path.findIndex((one) => one.id === wanted));
    if (at < first) this.#showMore(first - at + MORE);
    const element = this.#views.get(id)?.element;
    if (!element) return;
    /** @type {HTMLElement | null} */ (element.querySelector('.more[aria-expanded=false]'))?.click();
    focus(element);
    const { top, height } = this.sticky.scroller.getBoundingClientRect();
    const place = setOff(element.querySelector('.asked, .prose'), words)?.getBoundingClientRect();
    this.sticky.move(place ? place.top + place.height / 2 - top - height / 2 : element.getBoundingClientRect().top - top);
  }

  /** Show an alternative: the buttons that lead to it stay where they are, to lead further. @param {Message} message
   * @param {Message} other @param {() => void} work */
  turn(message, other, work) {
    const buttons = (/** @type {Message} */ { id }) => this.#views.get(id)?.element.querySelector('.tools');
    const [before, pressed] = [buttons(message), document.activeElement];
    const top = before?.getBoundingClientRect().top;
    const name = before?.contains(pressed) && pressed?.ariaLabel;
    if (this.#first === message.id) this.#first = other.id;
    work();
    const after = buttons(other);
    if (top === undefined || !after) return;
    this.sticky.move(after.getBoundingClientRect().top - top);
    const again = after.querySelector(`[aria-label="${name}"]:enabled`) ?? after.querySelector('.switcher :enabled');
    if (name) /** @type {HTMLElement | null} */ (again)?.focus({ preventScroll: true });
  }

  /** A run is in another phase: its own message looks different, no other. What it forbids with the others is said when it
   * is tried; to show it on each of them would make a long chat slow. @param {Chat} chat @param {Answer} run */
  refresh(chat, run) {
    this.#views.get(run.message.id)?.refresh(chat.siblings(run.message), run);
    this.#busy(run);
  }

  /** @param {Answer | null} run */
  #busy(run) {
    this.element.setAttribute('aria-busy', String(run !== null && run.phase !== 'over'));
  }

  /** @param {string} id @returns {AnswerView | null} */
  answer(id) {
    const view = this.#views.get(id);
    return view instanceof AnswerView ? view : null;
  }
}

/** A message has the focus: where one goes on from there, and what a screen reader says. @param {HTMLElement} element */
function focus(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}
