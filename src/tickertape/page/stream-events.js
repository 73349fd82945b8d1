// @ts-check
/** What a ResumableEventSource dispatches: DOM events with what a caller wants to know on them. */
import { utf8Size } from './text.js';

/** @import { StreamEvent } from './sse.js' */
/** @import { Stop, Wait } from './policy.js' */

/** `open`: the answer's head. */
export class OpenEvent extends Event {
  /** @param {Response} response @param {string} url */
  constructor(response, url) {
    super('open');
    this.status = response.status;
    this.headers = response.headers;
    /** Where the answer came from, after redirects. */
    this.url = url;
  }
}

/** An event of the stream, `message` or its own type. @extends {MessageEvent<string>} */
export class StreamMessageEvent extends MessageEvent {
  /** @param {StreamEvent} event @param {string} origin */
  constructor({ type, data, id, retry }, origin) {
    super(type, { data, lastEventId: id, origin });
    /** The reconnection time in milliseconds, if the event's block carried one. */
    this.retry = retry;
  }

  /** As `eventSize`. */
  get bytes() {
    return eventSize({ type: this.type, data: this.data, id: this.lastEventId, retry: this.retry });
  }
}

/** The event's bytes when each line is written once, with LF and a space after the colon, as most servers do.
 * @param {StreamEvent} event */
export function eventSize({ type, data, id, retry }) {
  let lines = 1;
  for (let at = data.indexOf('\n'); at >= 0; at = data.indexOf('\n', at + 1)) lines++;
  const named = (id ? utf8Size(id) + 5 : 0) + (type === 'message' ? 0 : utf8Size(type) + 8);
  return named + (retry === null ? 0 : String(retry).length + 8) + utf8Size(data) + lines * 6 + 2;
}

/**
 * `error`: the connection was lost, and with `readyState` CLOSED for good.
 *
 * `reason` is one of ended, broken, silent (see reconnect.js), status, type, finished (204), too-large. `message` is
 * the sentence for it, null where the stream ended as it may. `delay` says when the next connection is tried, null
 * when none is. `body` is the text of a refusal, at most 64 KiB; `error` its JSON, or the `error` in that.
 */
export class StreamErrorEvent extends Event {
  /** @param {Wait | Stop} action @param {string} [body] */
  constructor(action, body = '') {
    super('error');
    this.reason = action.reason;
    this.message = action.message;
    this.status = action.status;
    this.delay = action.do === 'wait' ? action.delay : null;
    this.attempt = action.do === 'wait' ? action.attempt : null;
    this.body = body;
    this.error = parsed(body);
  }
}

/** @param {string} body @returns {any} */
function parsed(body) {
  try {
    const json = JSON.parse(body);
    return json?.error ?? json;
  } catch {
    return null;
  }
}
