// @ts-check
/**
 * When, where and how to connect again: WHATWG HTML 9.2.2 and 9.2.3 as one pure machine, the same as in
 * sse/reconnect.py. It reads no clock and touches no socket: what happened goes in, what is to be done comes back.
 * Redirects are missing here: fetch follows them, and one that reaches us had no Location.
 *
 * What an answer means (`verdict`):
 *
 *   200 and text/event-stream                READ    "announce the connection"
 *   204                                      END     the server's way to say: do not come back
 *   408, 425, 429, 500, 502, 503, 504        RETRY   with `recover`, once the stream was open before
 *   anything else, any other content type    REFUSE  "fail the connection"
 *
 * What the loss of a connection means (`lost`):
 *
 *                                            may be sent again           may not
 *   ENDED        the body came to its end    wait, connect               stop
 *   BROKEN       reset, truncated, no head   wait, connect               stop
 *   SILENT       nothing for readTimeout     wait, connect               stop
 *
 * A request may be sent again if its method is idempotent, or the server named the stream in the `Location` of its
 * answer (then that is read with GET), or the caller said so (`repost`). Nothing else re-sends a POST.
 *
 * The delay is the reconnection time. When connection after connection brings no event it grows: the n-th waits a
 * random time between the reconnection time and 2ⁿ times it, at most `maxDelay`; never less than `Retry-After` asks.
 */

/** How a connection was lost; the value is the `reason` of the error event. */
export const Loss = Object.freeze({ ENDED: 'ended', BROKEN: 'broken', SILENT: 'silent' });

/** What the head of an answer means. */
export const Verdict = Object.freeze({ READ: 'read', END: 'end', RETRY: 'retry', REFUSE: 'refuse' });

/**
 * Everything that can be chosen about reconnecting. Times are in milliseconds.
 * @typedef {object} Policy
 * @property {number} reconnectionTime until the stream says otherwise; 3000 is what browsers take
 * @property {number} maxDelay the back-off's ceiling; a longer reconnection time still holds
 * @property {number} maxWait if a server asks for more than this, the source stops with an error
 * @property {number} maxRetries connections in a row that bring no event before giving up
 * @property {number} readTimeout silence after which a connection counts as lost, 0 for never; comments feed it
 * @property {boolean} recover treat `RETRYABLE` statuses on a reconnect as a cut; the standard ends there
 * @property {boolean} reconnecting the stream is known to be there: judge the first answer as that to a reconnect
 * @property {boolean} repost send a method that is not idempotent again: the caller knows that the server can tell
 */

/** @type {Readonly<Policy>} */
export const POLICY = Object.freeze({
  reconnectionTime: 3000,
  maxDelay: 60_000,
  maxWait: 3_600_000,
  maxRetries: Infinity,
  readTimeout: 0,
  recover: true,
  reconnecting: false,
  repost: false,
});

/** What a browser's EventSource does: the same delay for ever, and a 503 is the end. @type {Readonly<Policy>} */
export const STRICT = Object.freeze({ ...POLICY, maxDelay: 0, maxWait: Infinity, recover: false });

/**
 * The policy that a caller's options make.
 * @param {Partial<Policy> & { strict?: boolean }} options @returns {Policy}
 */
export function policyOf(options) {
  const base = /** @type {any} */ (options.strict ? STRICT : POLICY);
  const given = /** @type {any} */ (options);
  return /** @type {any} */ (Object.fromEntries(Object.keys(base).map((name) => [name, given[name] ?? base[name]])));
}

/**
 * Wait so many milliseconds, then connect; `least` of them because the server asked. Or stop; `message` says why, and
 * is null if the stream ended as it may. `attempt` counts connections in a row without an event.
 * @typedef {{do: 'read'}} Read
 * @typedef {{do: 'wait', delay: number, least: number, attempt: number,
 *   reason: string, message: string, status: number | null}} Wait
 * @typedef {{do: 'stop', reason: string, message: string | null, status: number | null}} Stop
 */

/** RFC 9110 9.2.2: sending them twice asks for nothing more than sending them once. */
export const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);

/** Statuses that speak of the moment, not of the request: a proxy's 502 during a deploy, a limit that resets. */
export const RETRYABLE = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Milliseconds. A connection that stayed open so long was no failure even if the stream had nothing to say. */
export const HEALTHY_AFTER = 10_000;

/** Whether this is the type `text/event-stream`, whatever its parameters (MIME sniffing 4.4). @param {string} type */
export function isEventStream(type) {
  return /^[\t\n\r ]*text\/event-stream[\t\n\r ]*(;|$)/i.test(type);
}

/**
 * Return what an answer with this head means; the first table above.
 * @param {number} status @param {string} contentType @param {{reconnecting: boolean, recover: boolean}} how
 */
export function verdict(status, contentType, { reconnecting, recover }) {
  if (status === 200 && isEventStream(contentType)) return Verdict.READ;
  if (status === 204) return Verdict.END;
  return recover && reconnecting && RETRYABLE.has(status) ? Verdict.RETRY : Verdict.REFUSE;
}

/**
 * Return the milliseconds that `Retry-After` asks for, be it seconds or an HTTP date; 0 if it is absent or neither. A
 * date is meant by the clock in the server's `Date`; `now` stands in for it.
 * @param {Headers} headers @param {number} now
 */
export function retryAfter(headers, now) {
  const value = (headers.get('retry-after') ?? '').trim();
  if (/^[0-9]+$/.test(value)) return Number(value) * 1000;
  const at = timestamp(value);
  return at === null ? 0 : Math.max(0, at - (timestamp(headers.get('date') ?? '') ?? now));
}

/**
 * Return the delay before the next connection after `retries` in a row that brought nothing.
 * @param {number} base @param {number} retries @param {number} ceiling @param {number} random from 0 to 1
 */
export function backoff(base, retries, ceiling, random) {
  // A stream may ask for `retry: 0`. Failures still have to spread out, so they grow from half a second.
  const longest = retries ? Math.min(ceiling, Math.max(base, 500) * 2 ** Math.min(retries, 32)) : base;
  return base + random * Math.max(0, longest - base);
}

/**
 * Decides for one source of events; see the module's two tables. Before each connection send `method`, `url`, the body
 * if `withBody`, the caller's headers if `sameOrigin`; report what happened with `answered`, `progressed`
 * and `lost`; perform what these return until it is a stop.
 */
export class Reconnector {
  #retries = 0;
  #progress = false;
  #openedAt = NaN;
  #origin;

  /** @param {string} url @param {string} method @param {Policy} policy @param {() => number} random */
  constructor(url, method, policy, random) {
    this.url = url;
    this.method = method;
    this.withBody = true;
    this.policy = policy;
    this.random = random;
    this.reconnectionTime = policy.reconnectionTime;
    this.wasOpen = policy.reconnecting;
    /** @type {string | null} the URL that the server gave the stream in answer to a request not to be sent twice */
    this.location = null;
    this.#origin = new URL(url).origin;
  }

  /** Whether the caller's headers may be sent: not to another origin that a `Location` led to. */
  get sameOrigin() {
    return new URL(this.url).origin === this.#origin;
  }

  /**
   * Take the head of the answer. `url` is where it came from, after redirects.
   * @param {number} status @param {Headers} headers @param {string} url @param {number} now
   * @returns {Read | Wait | Stop}
   */
  answered(status, headers, url, now) {
    const type = headers.get('content-type') ?? '';
    switch (verdict(status, type, { reconnecting: this.wasOpen, recover: this.policy.recover })) {
      case Verdict.READ:
        this.#open(headers, url, now);
        return { do: 'read' };
      case Verdict.END:
        return stop('finished', null, status);
      case Verdict.RETRY:
        return this.#wait('status', `${url} answered ${status}`, status, retryAfter(headers, now));
    }
    if (status !== 200) return stop('status', `${url} answered ${status}`, status);
    const what = type ? `the content type ${JSON.stringify(type)}` : 'no content type';
    return stop('type', `${url} answered with ${what}, not text/event-stream`, status);
  }

  /** Take note that the connection brought an event or an ID. */
  progressed() {
    this.#progress = true;
  }

  /**
   * Take the end of a connection, or the failure to make one; the second table above.
   * @param {string} loss @param {string} detail @param {number} now @returns {Wait | Stop}
   */
  lost(loss, detail, now) {
    if (now - this.#openedAt >= HEALTHY_AFTER) this.#progress = true;
    this.#openedAt = NaN;
    const happened = { [Loss.ENDED]: 'ended', [Loss.BROKEN]: 'broke', [Loss.SILENT]: 'fell silent' }[loss];
    const message = `The connection to ${this.url} ${happened}${detail && `: ${detail}`}`;
    if (IDEMPOTENT.has(this.method) || this.policy.repost) return this.#wait(loss, message, null, 0);
    if (loss === Loss.ENDED) return stop(loss, null, null);
    const why = 'is not sent again: it might do its work twice, and the server named no Location to read on from';
    return stop(loss, `${message}. A ${this.method} ${why}`, null);
  }

  /** Take note that the answer cannot be used. @param {string} reason @param {string} message @returns {Stop} */
  refused(reason, message) {
    return stop(reason, message, 200);
  }

  /** @param {Headers} headers @param {string} url @param {number} now */
  #open(headers, url, now) {
    this.wasOpen = true;
    this.#openedAt = now;
    const location = headers.get('location');
    if (IDEMPOTENT.has(this.method) || !location || !URL.canParse(location, url)) return;
    const target = new URL(location, url);
    if (!/^https?:$/.test(target.protocol)) return;
    this.location = this.url = target.href;
    this.method = 'GET';
    this.withBody = false;
  }

  /** @param {string} reason @param {string} message @param {number | null} status @param {number} least */
  #wait(reason, message, status, least) {
    if (this.#progress) this.#retries = 0;
    this.#progress = false;
    if (this.#retries >= this.policy.maxRetries) {
      if (reason === Loss.ENDED && !this.policy.maxRetries) return stop(reason, null, status);
      return stop(reason, `${message}. That was connection ${this.#retries + 1} in a row without an event`, status);
    }
    const ceiling = Math.max(this.policy.maxDelay, this.reconnectionTime);
    const delay = Math.max(least, backoff(this.reconnectionTime, this.#retries, ceiling, this.random()));
    if (delay > this.policy.maxWait) {
      const wanted = `The next try is wanted in ${delay} ms, and maxWait is ${this.policy.maxWait} ms`;
      return stop(reason, `${message}. ${wanted}`, status);
    }
    this.#retries++;
    return /** @type {Wait} */ ({ do: 'wait', delay, least, attempt: this.#retries, reason, message, status });
  }
}

/** @param {string} reason @param {string | null} message @param {number | null} status @returns {Stop} */
function stop(reason, message, status) {
  return { do: 'stop', reason, message, status };
}

/** @param {string} date an HTTP date (RFC 9110 5.6.7), of which Date.parse would take far too much for one */
function timestamp(date) {
  const at = /^[A-Z][a-z]+,? .*[0-9]{2}:[0-9]{2}:[0-9]{2}/.test(date) ? Date.parse(date) : NaN;
  return Number.isNaN(at) ? null : at;
}
