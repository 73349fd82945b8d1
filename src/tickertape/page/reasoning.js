// @ts-check
/** What a model thinks before it answers, in a fold, and the tools that it asks for. */
import { h, icon } from './dom.js';
import { duration } from './words.js';

/** @import { ToolCall } from './chunks.js' */
/** @import { Message } from './store.js' */

export class ReasoningView {
  #text = document.createTextNode('');
  #summary = h('summary', null);
  #done = false;
  element = h(
    'details',
    { className: 'reasoning', hidden: true },
    this.#summary,
    h('div', { dir: 'auto' }, this.#text),
  );

  /** The words above it while it grows. @param {string} words */
  set title(words) {
    if (!this.#done) this.#summary.textContent = words;
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

/** Tool calls, as they are written. @param {HTMLElement} element @param {ToolCall[]} tools */
export function showCalls(element, tools) {
  const calls = tools.filter(Boolean);
  element.hidden = !calls.length;
  element.replaceChildren(
    ...calls.map(({ name, arguments: given }) => h('pre', null, icon('tool'), `${name}(${given})`)),
  );
}
