// @ts-check
/** How messages and chats begin, and how the server's become ours. Pure but for its ids and times. */
import { sentence, toolsOf } from './chunks.js';
import { extrasOf } from './extras.js';

/** @import { TreeNode } from './api.js' */
/** @import { ChatInfo, Message } from './store.js' */

/** A random id, also where `crypto.randomUUID` is missing (plain http on another machine). */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Partial<Message> & Pick<Message, 'chat' | 'parent' | 'role'>} given @returns {Message} */
export function message(given) {
  const state = given.role === 'user' ? 'completed' : 'sending';
  const ids = { id: newId(), at: Date.now(), key: newId(), action: /** @type {const} */ ('next'), state };
  const nothing = { text: '', reasoning: '', tools: [], extras: null, model: '', finish: null, error: null, stream: null };
  return { .../** @type {any} */ (ids), ...nothing, cursor: '', count: 0, base: 0, thought: 0, took: 0, ...given };
}

/** @param {Partial<ChatInfo>} [given] @returns {ChatInfo} */
export function chatInfo(given) {
  return { id: newId(), title: '', at: Date.now(), leaf: null, model: '', system: '', local: true, ...given };
}

/** A message of the server's tree; null for a root that holds none. @param {TreeNode} node @param {string} chat @returns {Message | null} */
export function fromServer({ id, parent, message: told }, chat) {
  const role = told?.author?.role;
  if (!told || (role !== 'user' && role !== 'assistant')) return null;
  const text = (told.content?.parts?.join('') ?? '') + (told.details?.refusal ?? '');
  return message({
    id,
    chat,
    parent,
    role,
    text,
    tools: toolsOf(told.tool_calls),
    extras: extrasOf(told.details),
    at: Math.round(told.create_time * 1000),
    model: told.model ?? '',
    state: told.state ?? 'completed',
    finish: told.finish_reason ?? null,
    error: told.error ? sentence(told.error) : null,
    reasoning: told.reasoning ?? '',
    stream: told.streams?.at(-1) ?? null,
    base: told.state === 'running' ? text.length : 0,
    took: Math.round((told.seconds ?? 0) * 1000),
  });
}
