// @ts-check
/**
 * The server's HTTP API, one function a call. A refusal is thrown as `Refused`, a network failure as fetch's TypeError.
 */

/** The path below which the server is, as a proxy may have it; "" for the root. */
export const BASE = /^(.*)\/assets\/[0-9a-f]+\/[^/]+$/.exec(new URL(import.meta.url).pathname)?.[1] ?? '';

/**
 * The error's code when the server wants its own key. An upstream's refusal of a key is a 401 too, with another code.
 */
export const INVALID_KEY = 'invalid_api_key';

/**
 * @typedef {{ id: string, title: string, update_time: number, model: string | null, running: boolean, message_id?: string | null, snippet?: string | null }} ListItem
 * @typedef {{ items: ListItem[], total: number }} List
 * @typedef {object} ServerMessage
 * @property {{ role: 'user' | 'assistant' }} author
 * @property {{ parts: string[] }} content
 * @property {number} create_time seconds
 * @property {string | null} [model]
 * @property {'running' | 'completed' | 'cancelled' | 'failed' | 'incomplete' | 'lost'} state
 * @property {string | null} [finish_reason]
 * @property {any} [error]
 * @property {string | null} [reasoning]
 * @property {any[] | null} [tool_calls]
 * @property {any} [details] refusal, images, citations and what else it holds
 * @property {string[]} [streams]
 * @property {number | null} [seconds]
 * @typedef {{ id: string, parent: string | null, children: string[], message: ServerMessage | null }} TreeNode
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {number} update_time
 * @property {string | null} model
 * @property {string | null} system
 * @property {string | null} current_node
 * @property {{ [id: string]: TreeNode }} mapping
 */

/** The server refused a request; `code` is that of its error. */
export class Refused extends Error {
  /** @param {number} status @param {any} error OpenAI-shaped */
  constructor(status, error) {
    super(error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = error?.code;
  }
}

/** @type {() => Promise<boolean>} */ let askForKey = async () => false;

/**
 * Set what asks the person for the server's key; it returns whether the server has accepted one.
 * @param {typeof askForKey} ask
 */
export const setKeyPrompt = (ask) => void (askForKey = ask);

/** Ask the person for the server's key. */
export const signIn = () => askForKey();

/**
 * One request, without an offer to sign in.
 * @param {string} path @param {string} [method] @param {object} [json] @returns {Promise<any>}
 */
async function request(path, method = 'GET', json) {
  const headers = { Accept: 'application/json', ...(json && { 'Content-Type': 'application/json' }) };
  const response = await fetch(BASE + path, { method, headers, body: json && JSON.stringify(json) });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body?.error);
  return body;
}

/** One request; if the server wants its key, the person is asked for it first. @type {typeof request} */
async function call(path, method, json) {
  try {
    return await request(path, method, json);
  } catch (error) {
    if (error instanceof Refused && error.code === INVALID_KEY && (await signIn())) return call(path, method, json);
    throw error;
  }
}

export const api = {
  /** @returns {Promise<{ data: { id: string, owned_by: string, note?: string }[] }>} */
  models: () => call('/v1/models'),

  /** Change a key for a cookie, which EventSource and the next visit can use. @param {string} key */
  createSession: (key) => request('/api/session', 'POST', { key }),

  /**
   * @param {string} query searches titles and texts; "" lists all, the newest first
   * @param {number} [offset] @returns {Promise<List>}
   */
  list: (query, offset = 0) =>
    call(`/backend-api/conversations?limit=50&offset=${offset}${query && `&q=${encodeURIComponent(query)}`}`),

  /** @param {string} id @returns {Promise<Conversation>} */
  read: (id) => call(`/backend-api/conversation/${id}`),

  /**
   * Create an empty conversation, for what belongs to it before the first question.
   * @param {{ id: string, system?: string, model?: string }} given
   */
  create: (given) => call('/backend-api/conversations', 'POST', given),

  /**
   * @param {string} id
   * @param {{ title?: string, model?: string, system?: string, current_node?: string, deleted?: false }} change
   */
  change: (id, change) => call(`/backend-api/conversation/${id}`, 'PATCH', change),

  /** Delete it; for a while `change(id, { deleted: false })` restores it. @param {string} id */
  remove: (id) => call(`/backend-api/conversation/${id}`, 'DELETE'),

  /** The URL of its export. @param {string} id @param {'markdown' | 'json'} format */
  exportUrl: (id, format) => `${BASE}/backend-api/conversation/${id}/export?format=${format}`,
};

/** Run work one at a time: calls that come while it runs become one further run. @param {() => unknown} work */
export function coalesce(work) {
  /** @type {Promise<void> | null} */ let running = null;
  let again = false;
  const run = async () => {
    while (again) {
      again = false;
      await work();
    }
  };
  return () => {
    again = true;
    running ??= run().finally(() => (running = null));
    return running;
  };
}
