// @ts-check
/** Follows a source through a scenario and judges what it did. Runs in node and in a browser. */

/** The scenario on which this client differs unless it is strict: it waits. */
export const DIFFERS = '503 on a reconnect closes for good';

/**
 * Follow a source until the scenario is over, close it and return what it did.
 * @param {any} source an EventSource @param {any} scenario @returns {Promise<any>}
 */
function follow(source, scenario) {
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
function complaints(scenario, got, log) {
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

/**
 * Run a scenario and return what is wrong. One that measures time gets three tries: the machine may have been busy.
 * @param {any} scenario @param {string} path @param {(path: string) => any} open makes a source
 * @param {(path: string) => any} log returns what a path was asked @returns {Promise<string[]>}
 */
export async function judged(scenario, path, open, log) {
  /** @type {string[]} */ let found = [];
  for (let left = scenario.delay_ms ? 3 : 1; left; left--) {
    const own = `${path},${left}`;
    const got = await follow(open(own), scenario);
    found = complaints(scenario, got, await log(own));
    if (!found.length) break;
  }
  return found;
}
