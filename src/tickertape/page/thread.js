// @ts-check
/**
 * The conversation on the page: one view for each message of the path that is shown, from its end up to what is in
 * view. An answer takes a hundred kilobytes of layout, and a chat may have hundreds.
 */
import { AnswerView, QuestionView } from './message-view.js';
import { highlight } from './search-highlight.js';

/** @import { AnswerReader } from './answer-reader.js' */
/** @import { AutoScroll } from './auto-scroll.js' */
/** @import { Chat, Message } from './chat.js' */
/** @import { MessageHooks } from './message-view.js' */

/** Messages on the page, and how many more are added when their first is scrolled to. */
const MOST = 60;
const MORE = 20;
/** How far above the view they are when they are added. */
const AHEAD = '1200px';
/** Milliseconds: by then a screen reader has announced a change. */
const ANNOUNCED = 500;

export class Thread {
  /** @type {Map<string, QuestionView | AnswerView>} */ #views = new Map();
  /** @type {Chat | null} */ #chat = null;
  /** @type {AnswerReader | null} */ #reader = null;
  /** @type {string | undefined} the first message on the page */ #first;
  /** @type {string | undefined} and the last */ #last;

  /** @param {HTMLElement} element @param {HTMLElement} earlier the button for more, above it @param {AutoScroll} scroll
   * @param {MessageHooks} hooks */
  constructor(element, earlier, scroll, hooks) {
    this.element = element;
    this.earlier = earlier;
    this.scroll = scroll;
    this.hooks = hooks;
    this.near = new IntersectionObserver((seen) => seen.at(-1)?.isIntersecting && this.#showMore(MORE), {
      root: scroll.scroller,
      rootMargin: `${AHEAD} 0px 0px`,
    });
    this.near.observe(earlier);
    earlier.onclick = () => this.#showMore(MORE);
    addEventListener('beforeprint', () => this.#showMore(Infinity));
  }

  /** Show the chat's path; views that stay are kept. @param {Chat} chat @param {AnswerReader | null} reader */
  show(chat, reader) {
    const { path } = chat;
    if (chat !== this.#chat) highlight(null, '');
    const before = this.#first;
    const shown = path.slice(this.#from(path));
    [this.#chat, this.#reader, this.#first, this.#last] = [chat, reader, shown[0]?.id, path.at(-1)?.id];
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
      view.refresh(chat.siblings(view.message), reader?.message === view.message ? reader : null);
    }
    // Removing views above moves the view, which must not be taken for a gesture.
    if (this.#first !== before) this.scroll.follow();
    this.#busy(reader);
  }

  /**
   * The index on the path to begin at: the same as before, so that nothing that is being read vanishes. At the end of the
   * chat, where messages are added, nothing far above is being read. @param {Message[]} path
   */
  #from(path) {
    const at = (/** @type {string | undefined} */ wanted) => path.findIndex(({ id }) => id === wanted);
    const [first, last, latest] = [at(this.#first), at(this.#last), Math.max(0, path.length - MOST)];
    if (first < 0) return latest;
    const grown = last >= 0 && last < path.length - 1;
    return grown && this.scroll.following && latest - first >= MORE ? latest : first;
  }

  /** Show so many more earlier messages. @param {number} count */
  #showMore(count) {
    const chat = this.#chat;
    if (!chat || this.earlier.hidden) return;
    const { path } = chat;
    this.#first = path[Math.max(0, path.findIndex(({ id }) => id === this.#first) - count)].id;
    this.element.ariaLive = 'off'; // nothing new was added
    const pressed = document.activeElement === this.earlier;
    this.scroll.preserve(() => this.show(chat, this.#reader));
    if (pressed && this.earlier.hidden) focus(/** @type {HTMLElement} */ (this.element.firstElementChild));
    setTimeout(() => (this.element.ariaLive = null), ANNOUNCED);
    // The observer reports changes alone: observe it anew, as it may still be near.
    this.near.unobserve(this.earlier);
    this.near.observe(this.earlier);
  }

  /**
   * Show a message of the path, the words highlighted that were searched for.
   * @param {string} id @param {string} words
   */
  reveal(id, words) {
    const path = this.#chat?.path ?? [];
    const [at, first] = [id, this.#first].map((wanted) => path.findIndex((one) => one.id === wanted));
    if (at < first) this.#showMore(first - at + MORE);
    const element = this.#views.get(id)?.element;
    if (!element) return;
    /** @type {HTMLElement | null} */ (element.querySelector('.more[aria-expanded=false]'))?.click();
    focus(element);
    const { top, height } = this.scroll.scroller.getBoundingClientRect();
    const match = highlight(element.querySelector('.question-text, .prose'), words)?.getBoundingClientRect();
    this.scroll.scrollBy(match ? match.top + match.height / 2 - top - height / 2 : element.getBoundingClientRect().top - top);
  }

  /** Show an alternative: the buttons that lead to it stay where they are, to lead further. @param {Message} message
   * @param {Message} other @param {() => void} work */
  switchTo(message, other, work) {
    const buttons = (/** @type {Message} */ { id }) => this.#views.get(id)?.element.querySelector('.tools');
    const [before, pressed] = [buttons(message), document.activeElement];
    const top = before?.getBoundingClientRect().top;
    const name = before?.contains(pressed) && pressed?.ariaLabel;
    if (this.#first === message.id) this.#first = other.id;
    work();
    const after = buttons(other);
    if (top === undefined || !after) return;
    this.scroll.scrollBy(after.getBoundingClientRect().top - top);
    const again = after.querySelector(`[aria-label="${name}"]:enabled`) ?? after.querySelector('.switcher :enabled');
    if (name) /** @type {HTMLElement | null} */ (again)?.focus({ preventScroll: true });
  }

  /** A reader is in another phase: only its own message looks different. What it forbids with the others is said when it is
   * tried; to show it on each of them would make a long chat slow. @param {Chat} chat @param {AnswerReader} reader */
  refresh(chat, reader) {
    this.#views.get(reader.message.id)?.refresh(chat.siblings(reader.message), reader);
    this.#busy(reader);
  }

  /** @param {AnswerReader | null} reader */
  #busy(reader) {
    this.element.setAttribute('aria-busy', String(reader !== null && reader.phase !== 'over'));
  }

  /** @param {string} id @returns {AnswerView | null} */
  answer(id) {
    const view = this.#views.get(id);
    return view instanceof AnswerView ? view : null;
  }
}

/** Focus a message: for the keyboard, and for a screen reader to read it. @param {HTMLElement} element */
function focus(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}
