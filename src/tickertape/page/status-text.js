// @ts-check
/** What the page says about an answer: its state in words, and what can be done about it. Pure. */

/** @import { Phase } from './answer-reader.js' */
/** @import { Message } from './chat.js' */

/**
 * `live`: something is going on. `quiet`: a fact. `alert`: something went wrong.
 * @typedef {'continue' | 'again' | 'resend' | 'now' | 'signIn'} Action
 * @typedef {{ label: string, tone: '' | 'live' | 'quiet' | 'alert', actions: Action[] }} Description
 */

/** @type {Record<Action, string>} */
export const ACTIONS = {
  continue: 'Continue',
  again: 'Try again',
  resend: 'Send again',
  now: 'Try now',
  signIn: 'Enter the key',
};

/** @type {Record<string, string>} */
const FINISHED = {
  length: 'The answer reached its length limit.',
  content_filter: 'The provider’s filter ended this answer.',
  tool_calls: 'The model asks for a tool to be run. Tickertape shows the call and runs nothing.',
};

/** An answer that is being read. @param {Message} message @param {Phase} phase
 * @param {{ since: number, now: number, nextTry: number, online: boolean }} circumstances @returns {Description} */
export function describeRunning(message, phase, { since, now, nextTry, online }) {
  if (phase === 'stopping') return { label: 'Stopping…', tone: 'live', actions: [] };
  if (phase === 'locked') return { label: 'The server wants a key.', tone: 'alert', actions: ['signIn'] };
  if (phase === 'waiting') return describeWaiting(message, { now, nextTry, online });
  if (phase === 'writing') return { label: '', tone: 'live', actions: [] };
  const seconds = Math.floor((now - since) / 1000);
  return { label: seconds < 1 ? 'Thinking' : `Thinking, ${seconds} s`, tone: 'live', actions: [] };
}

/**
 * @param {Message} message
 * @param {{ now: number, nextTry: number, online: boolean }} circumstances @returns {Description}
 */
function describeWaiting(message, { now, nextTry, online }) {
  const begun = message.stream !== null;
  if (!online) {
    const goesOn = 'You are offline. The answer goes on without you, and will be here when you are back.';
    return {
      label: begun ? goesOn : 'You are offline. This is sent as soon as you are back.',
      tone: 'alert',
      actions: [],
    };
  }
  const seconds = Math.ceil((nextTry - now) / 1000);
  const when = seconds > 2 ? ` Next try in ${seconds} s.` : '';
  const label = begun
    ? 'The connection dropped. Picking up where it left off.'
    : 'The server does not answer. Trying again.';
  return { label: label + when, tone: 'alert', actions: seconds > 2 ? ['now'] : [] };
}

/**
 * An answer that is over. A partial one can be continued.
 * @param {Message} message @returns {Description}
 */
export function describeEnd({ state, finish, error, text, extras }) {
  const why = error ? ` ${ended(error)}` : '';
  /** @type {Action[]} */ const again = text ? ['continue', 'again'] : ['again'];
  switch (state) {
    case 'cancelled':
      return text
        ? { label: 'Stopped by you.', tone: 'quiet', actions: ['continue'] }
        : { label: 'Stopped by you before the first word.', tone: 'quiet', actions: ['again'] };
    case 'incomplete':
      return { label: 'The model stopped before it was done.', tone: 'alert', actions: again };
    case 'lost':
      return { label: text ? `${RESTARTED}; this is what was written.` : `${RESTARTED} before anything was written.`, tone: 'alert', actions: again };
    case 'gone':
      return { label: 'The server no longer has this answer; this is what had arrived.', tone: 'alert', actions: ['again'] };
    case 'unsent':
      return { label: `This was not sent: the server could not be reached.${why}`, tone: 'alert', actions: ['resend'] };
    case 'failed':
      return { label: `The answer failed.${why}`, tone: 'alert', actions: again };
    default:
      return finished(finish ?? '', text !== '' || Boolean(extras));
  }
}

const RESTARTED = 'The server restarted';
const NOTHING = 'The model had nothing to say.';

/** @param {string} finish @param {boolean} said whether it holds anything @returns {Description} */
function finished(finish, said) {
  const label = FINISHED[finish] ?? (said ? '' : NOTHING);
  const actions = { length: ['continue'], content_filter: ['again'] }[finish] ?? (label === NOTHING ? ['again'] : []);
  return { label, tone: 'quiet', actions: /** @type {Action[]} */ (actions) };
}

/**
 * What a screen reader announces when the state changes; not each second.
 * @param {Message} message @param {Phase} phase
 */
export function announcement(message, phase) {
  if (phase === 'over') return describeEnd(message).label || 'The answer is complete.';
  if (phase === 'thinking' || phase === 'sending') return 'Thinking.';
  if (phase === 'writing') return 'The answer is being written.';
  return describeRunning(message, phase, { since: 0, now: 0, nextTry: 0, online: true }).label;
}

/** Milliseconds as people say them. @param {number} time */
export function duration(time) {
  if (time < 950) return `${Math.round(time)} ms`;
  if (time < 59_500) return `${(time / 1000).toFixed(time < 9950 ? 1 : 0)} s`;
  return `${Math.floor(time / 60_000)} min ${Math.round((time % 60_000) / 1000)} s`;
}

/** @param {number} bytes */
export function size(bytes) {
  return bytes < 10_000 ? `${bytes} B` : `${(bytes / 1000).toFixed(bytes < 100_000 ? 1 : 0)} kB`;
}

/** A sentence with its full stop. @param {string} text */
const ended = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);
