// @ts-check
/** A question and an answer as they stand on the page. */
import { button, copy, h, icon } from './dom.js';
import { MarkdownView } from './render.js';
import { isOpen } from './taking.js';
import { Typist } from './typist.js';
import { ACTIONS, describeEnd, describeRunning, duration } from './words.js';

/** @import { Answer } from './answer.js' */
/** @import { Message } from './store.js' */
/** @import { Action } from './words.js' */

/**
 * @typedef {object} TurnHooks
 * @property {(what: Action | 'edit' | 'another', message: Message) => void} act
 * @property {(message: Message, step: number) => void} turnTo an alternative
 * @property {() => void} written something was put on the page
 * @property {() => boolean} typing the setting
 */

/** ‹ 2/3 › where there are alternatives. @param {Message} message @param {Message[]} siblings @param {TurnHooks} hooks */
function switcher(message, siblings, hooks) {
  if (siblings.length < 2) return null;
  const at = siblings.indexOf(message);
  const back = button('The one before', 'left', () => hooks.turnTo(message, -1), true);
  const next = button('The next one', 'right', () => hooks.turnTo(message, 1), true);
  back.disabled = at === 0;
  next.disabled = at === siblings.length - 1;
  return h('span', { className: 'switcher' }, back, h('span', null, `${at + 1}/${siblings.length}`), next);
}

/** The time of day. @param {number} at */
function clock(at) {
  const date = new Date(at);
  const text = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return h('time', { dateTime: date.toISOString(), title: date.toLocaleString() }, text);
}

export class QuestionView {
  /** @param {Message} message @param {TurnHooks} hooks */
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    this.tools = h('div', { className: 'tools' });
    const text = h('div', { className: 'asked', dir: 'auto' }, message.text);
    this.element = h('article', { className: 'question', 'aria-label': 'Question' }, text, this.tools);
    if (message.text.length > 1200 || message.text.split('\n').length > 12) this.#fold(text);
  }

  /** @param {Message[]} siblings @param {boolean} busy */
  refresh(siblings, busy) {
    const edit = button('Edit', 'edit', () => this.hooks.act('edit', this.message), true);
    edit.disabled = busy;
    this.tools.replaceChildren(
      ...[clock(this.message.at), switcher(this.message, siblings, this.hooks), edit].filter((one) => one !== null),
    );
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

export class AnswerView {
  #prose = h('div', { className: 'prose' });
  #thoughts = document.createTextNode('');
  #summary = h('summary', null);
  #reasoning = h(
    'details',
    { className: 'reasoning', hidden: true },
    this.#summary,
    h('div', { dir: 'auto' }, this.#thoughts),
  );
  #calls = h('div', { className: 'calls' });
  #state = h('p', { className: 'state' });
  #tools = h('div', { className: 'tools' });
  #said = '';
  #view = new MarkdownView(this.#prose);
  #typist;

  /** @param {Message} message @param {TurnHooks} hooks */
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    const parts = [this.#reasoning, this.#prose, this.#calls, this.#state, this.#tools];
    this.element = h('article', { className: 'answer', 'aria-label': 'Answer' }, ...parts);
    this.#typist = new Typist((text) => {
      this.#view.append(text);
      hooks.written();
    }, hooks.typing);
    if (message.text) this.#view.append(message.text);
  }

  /** @param {string} text @param {boolean} live */
  write(text, live) {
    this.#typist.push(text, live);
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
  }

  close() {
    this.#typist.close();
  }

  /** @param {Message[]} siblings @param {boolean} busy @param {Answer | null} run the run that reads it, if any */
  refresh(siblings, busy, run) {
    const { message } = this;
    const running = run && run.phase !== 'over' ? run : null;
    if (!running || running.phase === 'stopping') this.#typist.flush();
    if (!running && !isOpen(message)) this.#view.end();
    this.element.dataset.state = running ? running.phase : message.state;
    this.#showReasoning(Boolean(running));
    this.#showCalls();
    this.tick(run);
    const another = button('Another answer', 'again', () => this.hooks.act('another', message), true);
    another.disabled = busy;
    const take = button('Copy', 'copy', () => this.#copy(take), true);
    const model = message.model && h('span', { className: 'model' }, message.model);
    const took = message.took > 0 && h('span', null, duration(message.took));
    const parts = [take, another, switcher(message, siblings, this.hooks), model, took].filter(
      (one) => one instanceof Node,
    );
    this.#tools.replaceChildren(...(running ? [] : parts));
  }

  /** What changes with time alone: the state in words. @param {Answer | null} run */
  tick(run) {
    const { message } = this;
    const now = Date.now();
    const running = run && run.phase !== 'over';
    const circumstances = { now, nextTry: run?.nextTry ?? 0, online: navigator.onLine };
    const { words, tone, actions } = running
      ? describeRunning(message, run.phase, circumstances)
      : describeEnd(message);
    const thinking = running && message.reasoning && !message.text && tone === 'live';
    if (thinking) this.#summary.textContent = words;
    const said = thinking ? '' : `${tone} ${words} ${actions}`;
    if (said === this.#said) return;
    this.#said = said;
    this.#state.className = `state ${tone}`;
    const buttons = actions.map((action) => button(ACTIONS[action], '', () => this.hooks.act(action, message)));
    this.#state.replaceChildren(...(thinking || !words ? [] : [h('span', null, words), ...buttons]));
  }

  /** @param {boolean} running */
  #showReasoning(running) {
    const { reasoning, text, thought } = this.message;
    if (!reasoning) return;
    const first = this.#reasoning.hidden;
    this.#reasoning.hidden = false;
    if (reasoning.length < this.#thoughts.length) this.#thoughts.data = '';
    this.#thoughts.appendData(reasoning.slice(this.#thoughts.length));
    const open = running && !text;
    // Opens while it streams and closes at the first word; after that it is the reader's.
    if (open && first) this.#reasoning.open = true;
    if (!open && this.#summary.dataset.done !== 'yes') {
      this.#reasoning.open = false;
      this.#summary.dataset.done = 'yes';
      this.#summary.textContent = thought ? `Thought for ${duration(thought)}` : 'Thoughts';
    }
    this.hooks.written();
  }

  #showCalls() {
    const calls = this.message.tools.filter(Boolean);
    this.#calls.hidden = !calls.length;
    this.#calls.replaceChildren(
      ...calls.map(({ name, arguments: given }) => h('pre', null, icon('tool'), `${name}(${given})`)),
    );
  }

  /** @param {HTMLElement} from */
  #copy(from) {
    from.classList.add('done');
    setTimeout(() => from.classList.remove('done'), 1600);
    copy(h('span', null), this.message.text);
  }
}
