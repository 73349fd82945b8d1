// @ts-check
/** The conversation on the page: one view for each message of the path that is shown. */
import { QuestionView } from './question.js';
import { AnswerView } from './turn.js';

/** @import { Answer } from './answer.js' */
/** @import { Chat } from './chat.js' */
/** @import { TurnHooks } from './question.js' */

export class Thread {
  /** @type {Map<string, QuestionView | AnswerView>} */ #views = new Map();

  /** @param {HTMLElement} element @param {TurnHooks} hooks */
  constructor(element, hooks) {
    this.element = element;
    this.hooks = hooks;
  }

  /** Show the chat's path; views that stay are kept. @param {Chat} chat @param {Answer | null} run */
  show(chat, run) {
    const path = chat.path;
    const wanted = new Set(path.map(({ id }) => id));
    for (const [id, view] of this.#views) {
      if (wanted.has(id) && chat.get(id) === view.message) continue;
      view.close();
      view.element.remove();
      this.#views.delete(id);
    }
    for (const [i, message] of path.entries()) {
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
    this.#busy(run);
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
