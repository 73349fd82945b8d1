/** EventSource that can POST, send headers and a body, say why it failed, and come back after every cut. */
export { Decoder, EventTooLarge, MAX_EVENT_SIZE } from './sse.js';
export type { DecoderOptions, StreamEvent } from './sse.js';
import type { StreamEvent } from './sse.js';

/** Everything that can be chosen. Times are in milliseconds. */
export interface ResumableEventSourceOptions {
  /** Send cookies to other origins too. */
  withCredentials?: boolean;
  /** `GET` by default. A POST is sent once; after it, reconnects read the `Location` of its answer with GET. */
  method?: string;
  /** Headers of each request; a function is asked for them anew each time. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  body?: BodyInit;
  /** The body as JSON, instead of `body`. */
  json?: unknown;
  /** Where to go on: the first request names it too. */
  lastEventId?: string;
  /** Behave exactly as the browser's EventSource: one delay for ever, and a 503 is the end. */
  strict?: boolean;
  /** Bytes of one event, 16 MiB by default; beyond it the source closes with the reason `too-large`. */
  maxEventSize?: number;
  /** Closes the source. */
  signal?: AbortSignal;
  /** Another fetch. */
  fetch?: typeof globalThis.fetch;
  /** Another Math.random, for the jitter. */
  random?: () => number;
  /** Until the stream says otherwise; 3000 by default. */
  reconnectionTime?: number;
  /** The back-off's ceiling, 60 000 by default; a longer reconnection time still stands. */
  maxDelay?: number;
  /** A server that asks for more than this is told no, with an error; one hour by default. */
  maxWait?: number;
  /** Connections in a row that bring no event before giving up; Infinity by default. */
  maxRetries?: number;
  /** Silence after which a connection counts as lost, 0 (the default) for never. Comments feed it. */
  readTimeout?: number;
  /** Wait out 408, 425, 429, 500, 502, 503 and 504 in answer to a reconnect; true unless `strict`. */
  recover?: boolean;
  /** The stream is known to be there: judge the first answer as that to a reconnect. */
  reconnecting?: boolean;
  /** Send a POST again: the server can tell, by an Idempotency-Key for example. */
  repost?: boolean;
}

/** Why a connection was lost. */
export type Reason = 'ended' | 'broken' | 'silent' | 'status' | 'type' | 'finished' | 'too-large';

/** `open`: the head of the answer. */
export class OpenEvent extends Event {
  constructor(response: Response, url: string);
  status: number;
  headers: Headers;
  /** Where the answer came from, after redirects. */
  url: string;
}

/** `message`, or an event with a type of its own. */
export class StreamMessageEvent extends MessageEvent<string> {
  constructor(event: import('./sse.js').StreamEvent, origin: string);
  /** The reconnection time in milliseconds, if the event's block carried one. */
  retry: number | null;
  /** The event's bytes when each line is written once, with LF and a space after the colon, as most servers do. */
  get bytes(): number;
}

/** `error`: the connection was lost, and with `readyState` CLOSED for good. */
export class StreamErrorEvent extends Event {
  constructor(action: Pick<StreamErrorEvent, 'reason' | 'message' | 'status'>, body?: string);
  /** `finished` is the server's 204: do not come back. */
  reason: Reason;
  /** The sentence for it; null where the stream ended as it may. */
  message: string | null;
  status: number | null;
  /** Milliseconds until the next connection is tried; null when none is. */
  delay: number | null;
  /** How many connections in a row brought no event. */
  attempt: number | null;
  /** The text of a refusal, at most 64 KiB. */
  body: string;
  /** Its JSON, or the `error` in that; null if it is none. */
  error: any;
}

/** Before each request. */
export interface RequestDetail {
  method: string;
  url: string;
  lastEventId: string;
}

/** Before each wait; `least` of the `delay` was asked for by the server. */
export interface RetryDetail {
  delay: number;
  least: number;
  attempt: number;
  reason: Reason;
  message: string;
  status: number | null;
}

export interface ResumableEventSourceEventMap {
  open: OpenEvent;
  message: StreamMessageEvent;
  error: StreamErrorEvent;
  'tickertape:request': CustomEvent<RequestDetail>;
  'tickertape:retry': CustomEvent<RetryDetail>;
  'tickertape:comment': CustomEvent<{ text: string }>;
}

type Handler<E extends Event> = ((this: ResumableEventSource, event: E) => any) | null;

/** A drop-in for EventSource: `self.EventSource = ResumableEventSource`. */
export class ResumableEventSource extends EventTarget {
  constructor(url: string | URL, options?: ResumableEventSourceOptions | null);
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
  readonly url: string;
  readonly readyState: number;
  readonly withCredentials: boolean;
  /** The cursor: what the next request names. */
  readonly lastEventId: string;
  /** The URL that the answer to a POST named, which reconnects read; null before and without one. */
  readonly location: string | null;
  /** Bytes of all bodies so far, comments and what was cut off included. */
  readonly bytesReceived: number;
  onopen: Handler<OpenEvent>;
  onmessage: Handler<StreamMessageEvent>;
  onerror: Handler<StreamErrorEvent>;
  onrequest: Handler<CustomEvent<RequestDetail>>;
  onretry: Handler<CustomEvent<RetryDetail>>;
  oncomment: Handler<CustomEvent<{ text: string }>>;
  /** Close the socket now; nothing is dispatched any more. */
  close(): void;
  /** Hands out the events of one read by dispatching each. Override it where no DOM events are needed, which take most of their time. */
  deliver(events: StreamEvent[], origin: string): void;
  addEventListener<K extends keyof ResumableEventSourceEventMap>(
    type: K,
    listener: (this: ResumableEventSource, event: ResumableEventSourceEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: (this: ResumableEventSource, event: StreamMessageEvent) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: ((this: ResumableEventSource, event: any) => any) | EventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
