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

/** Tool calls, as they are written; what is whole is laid out. @param {HTMLElement} element @param {ToolCall[]} tools */
export function showCalls(element, tools) {
  if (!tools.length && element.hidden) return;
  const calls = tools.filter(Boolean);
  element.hidden = !calls.length;
  calls.forEach(({ name, arguments: given }, i) => {
    const call = /** @type {HTMLElement} */ (element.children[i] ?? element.appendChild(callView()));
    const [caption, code] = [call.querySelector('b'), call.querySelector('code')];
    if (caption && caption.textContent !== name) caption.textContent = name;
    const shown = laidOut(given);
    if (code && code.textContent !== shown) code.textContent = shown;
  });
  while (element.children.length > calls.length) element.lastElementChild?.remove();
}

function callView() {
  const caption = h('figcaption', null, icon('tool'), h('b', { translate: false }), h('span', null, 'asks for this tool'));
  return h('figure', null, caption, h('pre', { tabIndex: 0, dir: 'ltr' }, h('code', { translate: false })));
}

/** @param {string} json */
function laidOut(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
