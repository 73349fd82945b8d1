// @ts-check
/** The conversations on the server, one call each. What does not work is thrown as `Refused`, or as fetch's TypeError. */
import { BASE, LOCKED } from './base.js';
import { unlock } from './key.js';

/**
 * @typedef {{ id: string, title: string, update_time: number, model: string | null, running: boolean, message_id?: string | null, snippet?: string | null }} Item
 * @typedef {{ items: Item[], total: number }} Listing
 * @typedef {object} Told a message as the server tells it
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
 * @typedef {{ id: string, parent: string | null, children: string[], message: Told | null }} TreeNode
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {number} update_time
 * @property {string | null} model
 * @property {string | null} system
 * @property {string | null} current_node
 * @property {{ [id: string]: TreeNode }} mapping
 */

/** The server's answer when it does not do what it was asked. */
export class Refused extends Error {
  /** @param {number} status @param {any} error OpenAI-shaped */
  constructor(status, error) {
    super(error?.message ?? `The server answered ${status}.`);
    this.status = status;
  }
}

/** @param {string} path @param {string} [method] @param {object} [json] @returns {Promise<any>} */
async function call(path, method = 'GET', json) {
  const headers = { Accept: 'application/json', ...(json && { 'Content-Type': 'application/json' }) };
  const response = await fetch(`${BASE}/backend-api/${path}`, { method, headers, body: json && JSON.stringify(json) });
  const body = await response.json().catch(() => null);
  if (body?.error?.code === LOCKED && (await unlock())) return call(path, method, json);
  if (!response.ok) throw new Refused(response.status, body?.error);
  return body;
}

export const api = {
  /** @param {string} words searches titles and texts; "" lists all, the newest first @param {number} [offset] @returns {Promise<Listing>} */
  list: (words, offset = 0) =>
    call(`conversations?limit=50&offset=${offset}${words && `&q=${encodeURIComponent(words)}`}`),

  /** @param {string} id @returns {Promise<Conversation>} */
  read: (id) => call(`conversation/${id}`),

  /** An empty conversation, where something is to be said before the first question. @param {{ id: string, system?: string, model?: string }} given */
  create: (given) => call('conversations', 'POST', given),

  /** @param {string} id @param {{ title?: string, model?: string, system?: string, current_node?: string, deleted?: false }} change */
  change: (id, change) => call(`conversation/${id}`, 'PATCH', change),

  /** It can be taken back with `change(id, { deleted: false })` for a while. @param {string} id */
  remove: (id) => call(`conversation/${id}`, 'DELETE'),

  /** Where a file of it can be fetched. @param {string} id @param {'markdown' | 'json'} format */
  file: (id, format) => `${BASE}/backend-api/conversation/${id}/export?format=${format}`,
};
