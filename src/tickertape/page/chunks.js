// @ts-check
/** Reads the events of an answer: OpenAI's chunks, what they carry beside text, and how a stream ends. Pure. */

/**
 * @typedef {object} Extras beside the text, OpenAI's fields as far as they are there
 * @property {any[]} [images]
 * @property {any[]} [annotations]
 * @property {any[]} [citations]
 * @property {any[]} [server_tools]
 * @property {{ transcript?: string }} [audio]
 */

const LISTS = /** @type {const} */ (['images', 'annotations', 'citations', 'server_tools']);
/**
 * @typedef {'running' | 'completed' | 'cancelled' | 'failed' | 'incomplete' | 'lost'} State
 * @typedef {{ id?: string, name: string, arguments: string }} ToolCall
 * @typedef {object} Chunk
 * @property {string} text
 * @property {string} reasoning
 * @property {{ index: number, id?: string, name: string, arguments: string }[]} tools
 * @property {Extras | null} extras images, sources and what else is beside the text
 * @property {string | null} finish OpenAI's finish reason
 * @property {State | null} state the terminal state, if this chunk names it
 * @property {string | null} error the message
 * @property {boolean} end nothing follows
 * @property {Record<string, any> | null} usage
 * @property {string | null} model
 */

const ENDS = new Set(['failed', 'incomplete', 'lost']);

/** @type {Chunk} */
const NOTHING = {
  text: '',
  reasoning: '',
  tools: [],
  extras: null,
  finish: null,
  state: null,
  error: null,
  end: false,
  usage: null,
  model: null,
};

/** @param {Partial<Chunk>} given @returns {Chunk} */
const chunk = (given) => ({ ...NOTHING, ...given });

/** Read one event's data. What cannot be parsed is neither text nor an end. @param {string} data @returns {Chunk} */
export function readChunk(data) {
  if (data === '[DONE]') return chunk({ end: true });
  const json = parsed(data);
  if (!json) return chunk({});
  const named = json.tickertape?.state;
  if (json.error) {
    const state = ENDS.has(named) ? named : ENDS.has(json.error.code) ? json.error.code : 'failed';
    return chunk({ end: true, state, error: errorMessage(json.error) });
  }
  const choice = json.choices?.[0] ?? {};
  const delta = choice.delta ?? {};
  return chunk({
    text: stringOf(delta.content) || stringOf(delta.refusal),
    reasoning: stringOf(delta.reasoning_content) || stringOf(delta.reasoning),
    tools: (Array.isArray(delta.tool_calls) ? delta.tool_calls : []).map(toolPiece),
    extras: extrasOf(delta),
    finish: typeof choice.finish_reason === 'string' ? choice.finish_reason : null,
    state: named === 'cancelled' ? named : null,
    usage: json.usage ?? null,
    model: typeof json.model === 'string' ? json.model : null,
  });
}

/** A JSON string that says what it spells. */
const PLAIN = /^"[^"\\\x00-\x1f]+"$/;

/** Events whose surroundings are learned; after so many they differ in each event, and it is not worth it. */
const TRIES = 8;

/**
 * Reads the events of one answer, as `readChunk` does. Most differ from the one before in their text alone: what is
 * around it is parsed once, and the result is kept.
 */
export class ChunkReader {
  #before = '';
  #after = '';
  /** @type {Chunk | null} what an event says that has this around its text */ #around = null;
  #tries = TRIES;

  /** @param {string} data @returns {Chunk} */
  read(data) {
    if (this.#around && data.startsWith(this.#before) && data.endsWith(this.#after)) {
      const given = data.slice(this.#before.length, -this.#after.length);
      const text = PLAIN.test(given) ? given.slice(1, -1) : parsed(given);
      if (text && typeof text === 'string') return { ...this.#around, text };
    }
    const read = readChunk(data);
    if (read.text && this.#tries) this.#learn(data, read);
    return read;
  }

  /**
   * See what is around the text: with another one in its place the event must say just that.
   * @param {string} data @param {Chunk} read
   */
  #learn(data, read) {
    this.#tries--;
    const quoted = JSON.stringify(read.text);
    const at = data.lastIndexOf(quoted);
    const before = data.slice(0, at);
    const after = data.slice(at + quoted.length);
    const other = `${read.text}?`;
    const proof = at < 0 ? NOTHING : readChunk(before + JSON.stringify(other) + after);
    if (proof.text !== other) return;
    [this.#before, this.#after, this.#around] = [before, after, read];
  }
}

/** A message's whole tool calls. @param {any[] | null | undefined} calls @returns {ToolCall[]} */
export function toolsOf(calls) {
  return (calls ?? []).map(({ id, function: called, custom }) => ({
    id,
    name: stringOf((called ?? custom)?.name),
    arguments: stringOf(called?.arguments ?? custom?.input),
  }));
}

/** Merge the pieces of tool calls by their index. @param {ToolCall[]} calls @param {Chunk['tools']} pieces */
export function mergeTools(calls, pieces) {
  for (const piece of pieces) {
    const call = (calls[piece.index] ??= { name: '', arguments: '' });
    call.name += piece.name;
    call.arguments += piece.arguments;
  }
}

/** The number of an event in its stream, from its id `{stream}.{number}`; NaN if the id is not of that form.
 * @param {string} id @param {string} stream */
export function numberOf(id, stream) {
  const dot = id.lastIndexOf('.');
  return id.slice(0, dot) === stream && /^\d+$/.test(id.slice(dot + 1)) ? Number(id.slice(dot + 1)) : NaN;
}

/** The message of an OpenAI-shaped error. @param {any} error @returns {string} */
export function errorMessage(error) {
  return stringOf(error?.message) || stringOf(error) || 'no reason was given';
}

/** The extras in a delta or a whole message, null if there are none. @param {any} given @returns {Extras | null} */
export function extrasOf(given) {
  /** @type {Extras} */ const found = {};
  for (const name of LISTS) if (Array.isArray(given?.[name]) && given[name].length) found[name] = given[name];
  if (given?.audio) found.audio = { transcript: stringOf(given.audio.transcript) };
  return Object.keys(found).length ? found : null;
}

/** Add what a delta holds. @param {Extras | undefined} so @param {Extras} more @returns {Extras} */
export function addExtras(so, more) {
  const made = { ...so };
  for (const name of LISTS) if (more[name]) made[name] = [...(made[name] ?? []), ...more[name]];
  if (more.audio) made.audio = { transcript: (made.audio?.transcript ?? '') + more.audio.transcript };
  return made;
}

/** @param {any} piece @returns {Chunk['tools'][number]} */
function toolPiece(piece) {
  const index = Math.min(Number(piece?.index) || 0, 99);
  const called = piece?.function ?? piece?.custom;
  return { index, name: stringOf(called?.name), arguments: stringOf(called?.arguments ?? called?.input) };
}

/** The value if it is a string, else "". @param {unknown} value */
export const stringOf = (value) => (typeof value === 'string' ? value : '');

/** @param {string} data @returns {any} */
function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
