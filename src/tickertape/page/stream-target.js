// @ts-check
/** What the standard asks of every EventSource (WHATWG HTML 9.2.1): its constants and its `on…` attributes. */

export const CONNECTING = 0;
export const OPEN = 1;
export const CLOSED = 2;

/** @typedef {((event: any) => unknown) | null} Handler */

/** @type {WeakMap<EventTarget, Map<string, any>>} */
const handlers = new WeakMap();

/** Return what was assigned to an `on…` attribute. @param {EventTarget} target @param {string} type */
function handler(target, type) {
  return handlers.get(target)?.get(type) ?? null;
}

/**
 * Assign an `on…` attribute: one listener, in the place where the first was set; anything but a function unsets it.
 * @param {EventTarget} target @param {string} type @param {unknown} value
 */
function setHandler(target, type, value) {
  const own = handlers.get(target) ?? new Map();
  handlers.set(target, own);
  if (!own.has(type)) target.addEventListener(type, (event) => own.get(type)?.call(target, event));
  own.set(type, typeof value === 'function' ? value : null);
}

/** An EventTarget with EventSource's constants and handlers, and with those of the events that only ours has. */
export class SourceTarget extends EventTarget {
  static get CONNECTING() { return /** @type {0} */ (CONNECTING); }
  static get OPEN() { return /** @type {1} */ (OPEN); }
  static get CLOSED() { return /** @type {2} */ (CLOSED); }
  get CONNECTING() { return /** @type {0} */ (CONNECTING); }
  get OPEN() { return /** @type {1} */ (OPEN); }
  get CLOSED() { return /** @type {2} */ (CLOSED); }

  /** @type {Handler} */ get onopen() { return handler(this, 'open'); }
  set onopen(value) { setHandler(this, 'open', value); }
  /** @type {Handler} */ get onmessage() { return handler(this, 'message'); }
  set onmessage(value) { setHandler(this, 'message', value); }
  /** @type {Handler} */ get onerror() { return handler(this, 'error'); }
  set onerror(value) { setHandler(this, 'error', value); }
  /** @type {Handler} */ get onrequest() { return handler(this, 'tickertape:request'); }
  set onrequest(value) { setHandler(this, 'tickertape:request', value); }
  /** @type {Handler} */ get onretry() { return handler(this, 'tickertape:retry'); }
  set onretry(value) { setHandler(this, 'tickertape:retry', value); }
  /** @type {Handler} */ get oncomment() { return handler(this, 'tickertape:comment'); }
  set oncomment(value) { setHandler(this, 'tickertape:comment', value); }
}
