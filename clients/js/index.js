export { ResumableEventSource } from './lib/stream.js';
export { OpenEvent, StreamErrorEvent, StreamMessageEvent } from './lib/stream-events.js';
export { Decoder, EventTooLarge, MAX_EVENT_SIZE } from './lib/sse.js';
