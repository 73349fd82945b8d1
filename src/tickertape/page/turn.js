// @ts-check
/** An answer as it stands on the page: typed, in one of its states, with what can be done about it. */
import { button, copy, h } from './dom.js';
import { showExtras } from './extras.js';
import { switcher } from './question.js';
import { ReasoningView, showCalls } from './reasoning.js';
import { MarkdownView } from './render.js';
import { isOpen } from './taking.js';
import { Typist } from './typist.js';
import { ACTIONS, describeEnd, describeRunning, duration } from './words.js';

/** @import { Answer } from './answer.js' */
/** @import { TurnHooks } from './question.js' */
/** @import { Message } from './store.js' */

export class AnswerView {
  #prose = h('div', { className: 'prose' });
  #calls = h('div', { className: 'calls', hidden: true });
  #extras = h('div', { className: 'extras', hidden: true });
  #state = h('p', { className: 'state' });
  #tools = h('div', { className: 'tools' });
  #another = button('Another answer', 'again', () => this.hooks.act('another', this.message), true);
  #reasoning = new ReasoningView();
  #view = new MarkdownView(this.#prose);
  #typist;
  #running = false;
  #ended = false; // its last block is closed
  #given = 0; // characters of the message that have been given to the typist
  #said = '';
  #shown = '';
  #frame = 0;

  /** @param {Message} message @param {TurnHooks} hooks */
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    const parts = [this.#reasoning.element, this.#prose, this.#calls, this.#extras, this.#state, this.#tools];
    this.element = h('article', { className: 'answer', 'aria-label': 'Answer' }, ...parts);
    this.#typist = new Typist((text) => this.#view.append(text), hooks.typing);
    this.write(false);
    this.#typist.flush();
  }

  /** Show what has been added to the message. @param {boolean} live @param {string} [added] what it is, where that is known:
   * to cut it out of a long text that grows would cost its length each time */
  write(live, added) {
    const { text } = this.message;
    if (text.length < this.#given) this.reset();
    const known = added !== undefined && this.#given + added.length === text.length;
    if (text.length > this.#given) this.#typist.push(known ? added : text.slice(this.#given), live);
    this.#given = text.length;
  }

  /** Show more of its reasoning and tool calls, with the next frame. */
  more() {
    this.#frame ||= requestAnimationFrame(() => this.#showRest());
  }

  /** Show now what waits to be typed. */
  flush() {
    this.#typist.flush();
  }

  /** Begin anew. */
  reset() {
    this.#typist.flush();
    this.#prose.replaceChildren();
    this.#view = new MarkdownView(this.#prose);
    this.#given = 0;
    this.#ended = false;
  }

  close() {
    this.#typist.close();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {Message[]} siblings @param {Answer | null} run the run that reads it, if any */
  refresh(siblings, run) {
    const { message } = this;
    this.#running = run !== null && run.phase !== 'over';
    if (this.#running ? this.#ended : message.text.length !== this.#given) {
      if (this.#ended) this.reset(); // it is gone on with
      this.write(false);
    }
    if (!this.#running || run?.phase === 'stopping') this.#typist.flush();
    if (!this.#running && !isOpen(message) && !this.#ended) {
      this.#view.end();
      this.#ended = true;
    }
    this.element.dataset.state = run && this.#running ? run.phase : message.state;
    this.#showRest();
    this.#showTools(siblings);
    this.tick(run);
  }

  /** What changes with time alone: the state in words. @param {Answer | null} run */
  tick(run) {
    const { message } = this;
    const since = run?.since ?? message.at;
    const circumstances = { since, now: Date.now(), nextTry: run?.nextTry ?? 0, online: navigator.onLine };
    const { words, tone, actions } =
      run && this.#running ? describeRunning(message, run.phase, circumstances) : describeEnd(message);
    // While it thinks aloud the words stand above what it thinks.
    const aloud = this.#running && message.reasoning !== '' && !message.text && tone === 'live';
    if (aloud) this.#reasoning.title = words;
    const said = aloud ? '' : `${tone} ${words} ${actions}`;
    if (said === this.#said) return;
    this.#said = said;
    this.#state.className = `state ${tone}`;
    const buttons = actions.map((action) => button(ACTIONS[action], '', () => this.hooks.act(action, message)));
    this.#state.replaceChildren(...(aloud || !words ? [] : [h('span', null, words), ...buttons]));
  }

  #showRest() {
    this.#frame = 0;
    this.#reasoning.show(this.message, this.#running);
    showCalls(this.#calls, this.message.tools);
    showExtras(this.#extras, this.message.extras ?? undefined);
  }

  /** @param {Message[]} siblings */
  #showTools(siblings) {
    const { message } = this;
    const shown = `${this.#running} ${message.took} ${siblings.map(({ id }) => id)}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    const take = button('Copy', 'copy', () => copy(take, message.text), true);
    const model = message.model && h('span', { className: 'model' }, message.model);
    const took = message.took > 0 && h('span', null, duration(message.took));
    const parts = [take, this.#another, switcher(message, siblings, this.hooks), model, took];
    this.#tools.replaceChildren(...(this.#running ? [] : parts.filter((one) => one instanceof Node)));
  }
}
