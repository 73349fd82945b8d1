// @ts-check
/** A question and an answer as elements, with all that an answer holds. */
import { isOpen } from './chat.js';
import { stringOf } from './chunks.js';
import { button, copy, h, icon } from './dom.js';
import { MarkdownView } from './markdown-view.js';
import { ACTIONS, describeEnd, describeRunning, duration } from './status-text.js';
import { TypingAnimation } from './typewriter.js';

/** @import { AnswerReader } from './answer-reader.js' */
/** @import { Message } from './chat.js' */
/** @import { Extras, ToolCall } from './chunks.js' */
/** @import { Action } from './status-text.js' */

/**
 * @typedef {object} MessageHooks what can be done with a message
 * @property {(what: Action | 'edit' | 'another', message: Message) => void} act
 * @property {(message: Message, step: number) => void} switchTo an alternative
 * @property {() => boolean} typing the setting
 */

// Made once: to make one takes longer than all that is done with it.
const CLOCK = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });
const CALENDAR = new Intl.DateTimeFormat([], { dateStyle: 'full', timeStyle: 'medium' });

const SHOWN = /^data:image\/(png|jpeg|gif|webp|avif);base64,/;
const WEB = /^https?:\/\//i;

/** A question. */
export class QuestionView {
  #tools = h('div', { className: 'tools' });
  #edit = button('Edit', 'edit', () => this.hooks.act('edit', this.message), true);
  #shown = '';

  /** @param {Message} message @param {MessageHooks} hooks */
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    const text = h('div', { className: 'question-text', dir: 'auto' }, message.text);
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

/** An answer: typed, in one of its states, with what can be done about it. */
export class AnswerView {
  #prose = h('div', { className: 'prose' });
  #calls = h('div', { className: 'calls', hidden: true });
  #extras = h('div', { className: 'extras', hidden: true });
  #state = h('p', { className: 'state' });
  #tools = h('div', { className: 'tools' });
  #another = button('Another answer', 'again', () => this.hooks.act('another', this.message), true);
  #reasoning = new ReasoningView();
  #view = new MarkdownView(this.#prose);
  #typing;
  #running = false;
  #ended = false; // its last block is closed
  #given = 0; // characters of the message that have been passed to the animation
  #stateShown = '';
  #toolsShown = '';
  #frame = 0;

  /** @param {Message} message @param {MessageHooks} hooks */
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    const parts = [this.#reasoning.element, this.#prose, this.#calls, this.#extras, this.#state, this.#tools];
    this.element = h('article', { className: 'answer', 'aria-label': 'Answer' }, ...parts);
    this.#typing = new TypingAnimation((text) => this.#view.append(text), hooks.typing);
    this.write(false);
    this.#typing.flush();
  }

  /** Show what has been added to the message. @param {boolean} live @param {string} [added] what it is, where that is known:
   * to cut it out of a long text that grows would cost its length each time */
  write(live, added) {
    const { text } = this.message;
    if (text.length < this.#given) this.reset();
    const known = added !== undefined && this.#given + added.length === text.length;
    if (text.length > this.#given) this.#typing.push(known ? added : text.slice(this.#given), live);
    this.#given = text.length;
  }

  /** Show more of its reasoning and tool calls, with the next frame. */
  showParts() {
    this.#frame ||= requestAnimationFrame(() => this.#showParts());
  }

  /** Show now what waits to be typed. */
  flush() {
    this.#typing.flush();
  }

  /** Begin anew. */
  reset() {
    this.#typing.flush();
    this.#prose.replaceChildren();
    this.#view = new MarkdownView(this.#prose);
    this.#given = 0;
    this.#ended = false;
  }

  close() {
    this.#typing.close();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {Message[]} siblings @param {AnswerReader | null} reader its reader, if it is being read */
  refresh(siblings, reader) {
    const { message } = this;
    this.#running = reader !== null && reader.phase !== 'over';
    if (this.#running ? this.#ended : message.text.length !== this.#given) {
      if (this.#ended) this.reset(); // it is continued
      this.write(false);
    }
    if (!this.#running || reader?.phase === 'stopping') this.#typing.flush();
    if (!this.#running && !isOpen(message) && !this.#ended) {
      this.#view.end();
      this.#ended = true;
    }
    this.element.dataset.state = reader && this.#running ? reader.phase : message.state;
    this.#showParts();
    this.#showTools(siblings);
    this.tick(reader);
  }

  /** Show the state in words; it changes with time too. @param {AnswerReader | null} reader */
  tick(reader) {
    const { message } = this;
    const since = reader?.since ?? message.at;
    const circumstances = { since, now: Date.now(), nextTry: reader?.nextTry ?? 0, online: navigator.onLine };
    const { label, tone, actions } =
      reader && this.#running ? describeRunning(message, reader.phase, circumstances) : describeEnd(message);
    // While it reasons visibly the label is above the reasoning.
    const reasons = this.#running && message.reasoning !== '' && !message.text && tone === 'live';
    if (reasons) this.#reasoning.title = label;
    const state = reasons ? '' : `${tone} ${label} ${actions}`;
    if (state === this.#stateShown) return;
    this.#stateShown = state;
    this.#state.className = `state ${tone}`;
    const buttons = actions.map((action) => button(ACTIONS[action], '', () => this.hooks.act(action, message)));
    this.#state.replaceChildren(...(reasons || !label ? [] : [h('span', null, label), ...buttons]));
  }

  #showParts() {
    this.#frame = 0;
    this.#reasoning.show(this.message, this.#running);
    showCalls(this.#calls, this.message.tools);
    showExtras(this.#extras, this.message.extras ?? undefined);
  }

  /** @param {Message[]} siblings */
  #showTools(siblings) {
    const { message } = this;
    const shown = `${this.#running} ${message.took} ${siblings.map(({ id }) => id)}`;
    if (shown === this.#toolsShown) return;
    this.#toolsShown = shown;
    const take = button('Copy', 'copy', () => copy(take, message.text), true);
    const model = message.model && h('span', { className: 'model' }, message.model);
    const took = message.took > 0 && h('span', null, duration(message.took));
    const parts = [take, this.#another, switcher(message, siblings, this.hooks), model, took];
    this.#tools.replaceChildren(...(this.#running ? [] : parts.filter((one) => one instanceof Node)));
  }
}

/**
 * ‹ 2/3 › to switch between a message and its alternatives.
 * @param {Message} message @param {Message[]} siblings @param {MessageHooks} hooks
 */
function switcher(message, siblings, hooks) {
  if (siblings.length < 2) return null;
  const at = siblings.indexOf(message);
  const back = button('The one before', 'left', () => hooks.switchTo(message, -1), true);
  const next = button('The next one', 'right', () => hooks.switchTo(message, 1), true);
  back.disabled = at === 0;
  next.disabled = at === siblings.length - 1;
  return h('span', { className: 'switcher' }, back, h('span', null, `${at + 1}/${siblings.length}`), next);
}

/** The time of day. @param {number} at */
function clock(at) {
  const date = new Date(at);
  return h('time', { dateTime: date.toISOString(), title: CALENDAR.format(date) }, CLOCK.format(date));
}

/** A model's reasoning before its answer, in a fold. */
class ReasoningView {
  #text = document.createTextNode('');
  #summary = h('summary', null);
  #done = false;
  element = h(
    'details',
    { className: 'reasoning', hidden: true },
    this.#summary,
    h('div', { dir: 'auto' }, this.#text),
  );

  /** The label above it while it grows. @param {string} label */
  set title(label) {
    if (!this.#done) this.#summary.textContent = label;
  }

  /** Opens while it grows and closes at the first word of the answer; after that it is the reader's.
   * @param {Message} message @param {boolean} running */
  show({ reasoning, text, thought }, running) {
    if (!reasoning) return;
    if (this.element.hidden) this.element.open = running && !text;
    this.element.hidden = false;
    if (reasoning.length < this.#text.length) this.#text.data = '';
    this.#text.appendData(reasoning.slice(this.#text.length));
    if ((running && !text) || this.#done) return;
    this.#done = true;
    this.element.open = false;
    this.#summary.textContent = thought ? `Thought for ${duration(thought)}` : 'Thoughts';
  }
}

/** Tool calls as they arrive; a complete one is formatted. @param {HTMLElement} element @param {ToolCall[]} tools */
function showCalls(element, tools) {
  if (!tools.length && element.hidden) return;
  const calls = tools.filter(Boolean);
  element.hidden = !calls.length;
  calls.forEach(({ name, arguments: given }, i) => {
    const call = /** @type {HTMLElement} */ (element.children[i] ?? element.appendChild(callView()));
    const [caption, code] = [call.querySelector('b'), call.querySelector('code')];
    if (caption && caption.textContent !== name) caption.textContent = name;
    const shown = formatJson(given);
    if (code && code.textContent !== shown) code.textContent = shown;
  });
  while (element.children.length > calls.length) element.lastElementChild?.remove();
}

function callView() {
  const caption = h('figcaption', null, icon('tool'), h('b', { translate: false }), h('span', null, 'asks for this tool'));
  return h('figure', null, caption, h('pre', { tabIndex: 0, dir: 'ltr' }, h('code', { translate: false })));
}

/** @param {string} json */
function formatJson(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

/**
 * Images, sources and what else is beside the text; made again when there is more.
 * @param {HTMLElement} element @param {Extras | undefined} extras
 */
function showExtras(element, extras) {
  const { images = [], annotations = [], citations = [], server_tools: ran = [], audio } = extras ?? {};
  const count = `${images.length} ${annotations.length} ${citations.length} ${ran.length} ${audio?.transcript}`;
  if (element.dataset.count === count || (!extras && element.hidden)) return;
  element.dataset.count = count;
  element.hidden = !extras;
  const sources = new Map([...annotations, ...citations].map((one) => [JSON.stringify(sourceOf(one)), sourceOf(one)]));
  element.replaceChildren(
    ...ran.map((step) => h('pre', { tabIndex: 0, dir: 'ltr' }, h('code', { translate: false }, JSON.stringify(step, null, 2)))),
    ...images.map((image) => imageView(stringOf(image?.image_url?.url))),
    ...(audio ? [h('p', { dir: 'auto' }, `Sound${audio.transcript ? `: ${audio.transcript}` : ', which this page does not play'}`)] : []),
    ...(sources.size ? [h('ol', null, ...[...sources.values()].map(({ url, label }) => h('li', null, link(url, label))))] : []),
  );
}

/** @param {string} url */
function imageView(url) {
  if (SHOWN.test(url)) return h('img', { src: url, alt: 'Image of the answer' });
  return h('p', null, WEB.test(url) ? link(url, 'Image') : 'An image that this page does not show');
}

/** A link if it leads to a page, else its label. @param {string} url @param {string} label @returns {Node} */
function link(url, label) {
  const shown = label || url || 'a source';
  return WEB.test(url)
    ? h('a', { href: url, target: '_blank', rel: 'noopener noreferrer', title: url }, shown)
    : document.createTextNode(shown);
}

/** @param {any} given */
function sourceOf(given) {
  const source = given?.url_citation ?? given ?? {};
  const known = [source.title, source.document_title, source.cited_text, source.type].map(stringOf).find(Boolean);
  return { url: stringOf(source.url ?? source.uri), label: stringOf(source.title) || (source.url ? '' : (known ?? '')) };
}

