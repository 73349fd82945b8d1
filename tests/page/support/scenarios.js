// @ts-check
/** Serves the behaviour scenarios, each under a path of its own. */
import { bytesOf } from './cases.js';
import { head, listen } from './server.js';

const CORS = { 'Access-Control-Allow-Origin': '*', 'Cache-Control': 'no-store' };

/**
 * `/3` is the scenario of index 3: its first request gets the first response, and so on, the last one for ever. What
 * follows a `?` tells clients apart; `log(path)` returns the requests that a path has seen.
 * @param {any[]} scenarios @param {import('./server.js').Answer} [other] answers what is no number
 */
export async function serveScenarios(scenarios, other) {
  /** @type {Map<string, {lastEventId: string | null, at: number}[]>} */ const logs = new Map();
  const log = (/** @type {string} */ path) => logs.get(path) ?? (logs.set(path, []), /** @type {any} */ (logs.get(path)));
  const server = await listen((request, socket) => {
    const [, index] = /^\/(\d+)\b/.exec(request.path) ?? [];
    if (index === undefined) return other?.(request, socket);
    const seen = log(request.path.replace('&target', ''));
    const { responses } = scenarios[Number(index)];
    const response = responses[Math.min(seen.length, responses.length - 1)];
    const id = request.headers['last-event-id'];
    seen.push({ lastEventId: id === undefined ? null : Buffer.from(id, 'latin1').toString('base64'), at: request.at });
    if (response.end === 'abort-before-head') return socket.destroy();
    const body = bytesOf(response.body_b64);
    /** @type {Record<string, string | number>} */ const headers = { ...CORS, 'Content-Type': response.content_type };
    if (response.location) headers.Location = `${request.path}&target`;
    if (response.end === 'content-length-short') headers['Content-Length'] = body.length + 100;
    socket.write(head(response.status, headers));
    return socket.end(body);
  });
  return { ...server, log };
}
