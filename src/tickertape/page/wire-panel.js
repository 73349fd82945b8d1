// @ts-check
/** The wire panel: every event of the answer as it came, and what can be measured about it. */
import { BASE } from './api.js';
import { byId, copy, h } from './dom.js';
import { eventSize } from './sse.js';
import { duration, size as inBytes } from './status-text.js';
import { rawOf, WireLog } from './wire-log.js';

/** @import { Record } from './wire-log.js' */

/** Rows that are shown; the log keeps a little more. */
const ROWS = 400;

export class WirePanel {
  #panel = byId('wire');
  #list = byId('wire-events');
  #facts = byId('wire-facts');
  #log = new WireLog();
  #shown = 0; // records of the log that have been looked at
  #frame = 0;
  #raw = false;
  #opener = byId('activity');
  /** @type {() => void} called when it opens or closes */
  ontoggle = () => {};

  constructor() {
    byId('wire-close').addEventListener('click', () => this.toggle(false));
    const raw = byId('wire-raw');
    raw.addEventListener('click', () => this.#unfold(raw.getAttribute('aria-pressed') !== 'true'));
    const curl = byId('wire-curl');
    curl.addEventListener('click', () => copy(curl, this.#log.curl(location.origin + BASE)));
    // One that is unfolded by hand is seen whole. The event does not bubble.
    const seen = (/** @type {Event} */ { target }) => {
      if (!this.#raw && target instanceof HTMLDetailsElement && target.open) target.scrollIntoView({ block: 'nearest' });
    };
    this.#list.addEventListener('toggle', seen, true);
    this.#panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      this.toggle(false);
    });
  }

  get open() {
    return !this.#panel.hidden;
  }

  /** @param {boolean} open */
  toggle(open) {
    if (!open && this.#panel.contains(document.activeElement)) this.#opener.focus();
    this.#panel.hidden = !open;
    this.#opener.setAttribute('aria-expanded', String(open));
    document.body.classList.toggle('with-wire', open);
    // It may open late, when its module is loaded; it does not take the focus from another element then.
    if (open && document.activeElement === this.#opener) this.#panel.focus();
    this.update();
    this.ontoggle();
  }

  /** @param {WireLog} log */
  show(log) {
    if (log !== this.#log) {
      this.#log = log;
      this.#shown = 0;
      this.#list.replaceChildren();
    }
    this.update();
  }

  /** Something happened: shown with the next frame, if the panel is open. */
  update() {
    if (this.open) this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    this.#drawFacts();
    const { records, seen } = this.#log;
    const fresh = Math.min(seen - this.#shown, records.length, ROWS);
    this.#shown = seen;
    if (!fresh) return;
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...records.slice(-fresh).map(row));
    if (this.#raw) this.#unfold(true);
    while (list.childElementCount > ROWS) list.firstElementChild?.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  /** Show every event's bytes, or fold them. @param {boolean} open */
  #unfold(open) {
    this.#raw = open;
    byId('wire-raw').setAttribute('aria-pressed', String(open));
    for (const details of this.#list.querySelectorAll(open ? 'details:not([open])' : 'details[open]')) {
      details.toggleAttribute('open', open);
    }
  }

  #drawFacts() {
    const { state, stream, firstText, rate, events, bytes, reconnects, transport, tokens } = this.#log;
    /** @type {[string, string][]} */
    const facts = [
      ['State', state],
      ['Read by', transport === 'fetch' ? 'fetch' : 'EventSource'],
      ['First token', firstText ? duration(firstText) : '–'],
      ['Pace', rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} ${tokens ? 'tokens' : 'events'}/s` : '–'],
      ['Events', String(events)],
      ['Bytes', inBytes(bytes)],
      ['Reconnects', String(reconnects)],
      ['Stream', stream ? `${stream.slice(0, 8)}…` : '–'],
    ];
    const shown = facts.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)));
    this.#facts.replaceChildren(...shown);
  }
}

/** @param {Record} record @returns {HTMLElement} */
function row({ kind, gap, text, event, count }) {
  const gone = h('span', null, `+${gap < 10 ? gap.toFixed(1) : Math.round(gap)} ms`);
  if (!event) return h('li', { className: kind }, h('span', null, LABELS[kind] ?? text), gone);
  const raw = rawOf(event);
  const number = Number(event.id.slice(event.id.lastIndexOf('.') + 1)) || count;
  const says = text ? h('q', null, text.replaceAll('\n', '↵')) : h('i', null, gist(raw));
  const size = `${eventSize(event)} B`;
  const summary = h('summary', null, h('b', null, String(number)), gone, h('span', null, size), says);
  return h('li', null, h('details', null, summary, h('code', { translate: false }, ...marked(raw, text))));
}

/** @type {{ [kind: string]: string }} */
const LABELS = { reconnect: 'connected again', end: 'the end', broken: 'torn off' };

/** What an event without text is about. @param {string} raw */
function gist(raw) {
  if (raw.endsWith('data: [DONE]')) return '[DONE]';
  const [, name = ''] = /"(error|usage|tool_calls|role)":[^n]/.exec(raw) ?? [];
  return /"finish_reason":"(\w+)"/.exec(raw)?.[1] ?? (raw.includes('"state":"cancelled"') ? 'cancelled' : name);
}

/** The raw text, with what the reader gets to see of it set off. @param {string} raw @param {string} text */
function marked(raw, text) {
  const inside = JSON.stringify(text).slice(1, -1);
  const at = text ? raw.lastIndexOf(`:"${inside}"`) + 2 : 1;
  if (at < 2) return [raw];
  return [raw.slice(0, at), h('mark', null, inside), raw.slice(at + inside.length)];
}
