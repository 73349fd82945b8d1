// @ts-check
/** Serves the behaviour scenarios, each under a path of its own, and judges what a client made of one. */
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

/**
 * Follow a source until the scenario is over, close it and return what it did.
 * @param {any} source an EventSource @param {any} scenario @returns {Promise<any>}
 */
export function follow(source, scenario) {
  /** @type {any[]} */ const events = [];
  /** @type {number[]} */ const errors = [];
  const { expected_events: expected, requests, final } = scenario;
  return new Promise((resolve) => {
    const finish = () => {
      const { readyState } = source;
      source.close();
      resolve({ events, errors, readyState });
    };
    source.onmessage = (/** @type {any} */ { type, data, lastEventId }) => {
      events.push({ event: type, data, id: lastEventId });
      if (final === 'reconnecting' && events.length >= expected.length && errors.length >= requests.length - 1) finish();
    };
    source.onerror = () => {
      errors.push(source.readyState);
      if (source.readyState === 2) finish();
    };
  });
}

/** What is wrong with what a client did; empty if nothing is. @param {any} scenario @param {any} got @param {any[]} log */
export function complaints(scenario, got, log) {
  const found = [];
  const same = (/** @type {unknown} */ a, /** @type {unknown} */ b) => JSON.stringify(a) === JSON.stringify(b);
  const events = got.events.slice(0, scenario.expected_events.length);
  const ids = log.slice(0, scenario.requests.length).map((request) => request.lastEventId);
  const wanted = scenario.requests.map((/** @type {any} */ request) => request.last_event_id_b64);
  if (!same(events, scenario.expected_events)) found.push(`events ${JSON.stringify(got.events)}`);
  if (!same(ids, wanted)) found.push(`Last-Event-ID ${JSON.stringify(ids)}`);
  if ((got.readyState === 2) !== (scenario.final === 'closed')) found.push(`readyState ${got.readyState}`);
  if (scenario.final === 'closed' && log.length !== wanted.length) found.push(`${log.length} requests`);
  if (scenario.final === 'closed' && got.errors.slice(0, -1).includes(2)) found.push(`errors in states ${got.errors}`);
  if (scenario.delay_ms) {
    const [least, most] = scenario.delay_ms;
    const delay = log[1].at - log[0].at;
    if (!(delay >= least && delay <= most)) found.push(`a delay of ${delay} ms`);
  }
  return found;
}
