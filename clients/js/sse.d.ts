/** Bytes of an event stream, however they were cut, to events: WHATWG HTML 9.2.5 and 9.2.6. */

/** Bytes: the default of `maxEventSize`, 16 MiB. */
export const MAX_EVENT_SIZE: number;

/** One event of an event stream. */
export interface StreamEvent {
  /** The text, its lines joined by LF. */
  data: string;
  /** `message`, or what the block's `event` field said. */
  type: string;
  /** The last event ID at the moment of dispatch: without an `id` field of its own, that of an earlier event. */
  id: string;
  /** The reconnection time in milliseconds if the event's block carried one. */
  retry: number | null;
}

/** One event was larger than the decoder's `maxEventSize`; the decoder is finished. */
export class EventTooLarge extends Error {
  constructor(limit: number);
  /** Bytes. */
  limit: number;
}

export interface DecoderOptions {
  /** The limit in bytes for one event; 16 MiB by default. */
  maxEventSize?: number;
  /** Called with the text of each comment, all that follows its colon. */
  onComment?: (text: string) => unknown;
  /** The last event ID of the response before. */
  lastEventId?: string;
}

/** Turns the bytes of one response body into events. Use a new one for each response. */
export class Decoder {
  constructor(options?: DecoderOptions);
  /** The last event ID string: what goes into `Last-Event-ID` on reconnecting. */
  lastEventId: string;
  /** The newest reconnection time in milliseconds, or null if none came. */
  retry: number | null;
  /**
   * Return the events that these bytes complete, in order. Throws EventTooLarge, now and for ever, when one event
   * grows beyond `maxEventSize`; the events before it are returned first, so the error may come with the next call.
   */
  feed(chunk: Uint8Array): StreamEvent[];
  /** Say that the body has ended: an unfinished block is dropped, its id too. Throws EventTooLarge if that is owed. */
  close(): void;
}

/** The size of an event on the wire in bytes, if each line is written once, with LF and a space after the colon, as most servers do. */
export function eventSize(event: StreamEvent): number;
