// @ts-check
/** A recorded answer as a tickertape server sends it, from any cursor on, and a connection that breaks inside it. */
import { STREAM, chunk, head } from './server.js';

const ID = '0123456789abcdef';
const DATA = [...['', 'wörld ', '日本語', '👍🏽\\n'].map((content) => `{"delta":{"content":"${content}"}}`), '[DONE]'];
const FRAMES = DATA.map((data, at) => `id: ${ID}.${at + 1}\n${at ? '' : 'retry: 0\n'}data: ${data}\n\n${at === 2 ? ': ping\n' : ''}`);

/** What has to be delivered. */
export const EXPECTED = DATA;

/** The head and the chunks of the answer to this request. @param {import('./server.js').Request} request */
function recorded({ method, path, headers }) {
  const from = Number(headers['last-event-id']?.split('.')[1] ?? 0);
  if (from === FRAMES.length) return Buffer.from(head(204));
  return Buffer.concat([headOf(method, path), ...FRAMES.slice(from).map(chunk), chunk('')]);
}

/** @param {string} method @param {string} path */
function headOf(method, path) {
  /** @type {Record<string, string>} */ const location = method === 'POST' ? { Location: path } : {};
  return Buffer.from(head(200, { ...STREAM, 'Transfer-Encoding': 'chunked', ...location }));
}

/** Bytes of the answer to a request for everything, and of its head. @param {string} method */
export function sizes(method, path = '/') {
  const request = { method, path, headers: {}, body: '', at: 0 };
  return { whole: recorded(request).length, head: headOf(method, path).length };
}

/**
 * Answer a request, but break the connection after so many bytes.
 * @param {import('./server.js').Request} request @param {import('node:net').Socket} socket @param {number} limit
 */
export function answerUpTo(limit, request, socket) {
  const bytes = recorded(request);
  if (limit >= bytes.length) return void socket.end(bytes);
  const cut = limit % 2 ? () => socket.destroy() : () => socket.resetAndDestroy();
  socket.write(bytes.subarray(0, limit), () => cut());
}
