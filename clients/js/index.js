export { OpenEvent, ResumableEventSource, StreamErrorEvent, StreamMessageEvent } from './lib/event-source.js';
export { Decoder, EventTooLarge, MAX_EVENT_SIZE } from './lib/sse.js';
