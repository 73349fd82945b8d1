// Checked by tsc, never run: the hand-written types of clients/js fit the code, and serve a caller.
import * as declared from '../../../clients/js/index.js';
import * as sizes from '../../../clients/js/sse.js';
import * as sse from '../../../src/tickertape/page/sse.js';
import * as stream from '../../../src/tickertape/page/event-source.js';
import type { Options } from '../../../src/tickertape/page/event-source.js';

// What is declared exists as declared.
type Listening = 'addEventListener' | 'removeEventListener'; // more is known of their events than the code says
export const source: Omit<declared.ResumableEventSource, Listening> = new stream.ResumableEventSource('/x');
export const readyStates: Pick<typeof declared.ResumableEventSource, 'CONNECTING' | 'OPEN' | 'CLOSED'> = stream.ResumableEventSource;
export const decoder: typeof declared.Decoder = sse.Decoder;
export const tooLarge: typeof declared.EventTooLarge = sse.EventTooLarge;
export const size: typeof sizes.eventSize = sse.eventSize;
export const limit: typeof declared.MAX_EVENT_SIZE = sse.MAX_EVENT_SIZE;
export const message: typeof declared.StreamMessageEvent = stream.StreamMessageEvent;
export const open: typeof declared.OpenEvent = stream.OpenEvent;

// Every option of one is an option of the other.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
export const options: Same<Required<Options>, Required<declared.ResumableEventSourceOptions>> = true;
export const fields: Same<
  Exclude<keyof stream.StreamErrorEvent, symbol>,
  Exclude<keyof declared.StreamErrorEvent, symbol>
> = true;
export const members: Same<keyof stream.ResumableEventSource, keyof declared.ResumableEventSource> = true;

// It stands where an EventSource stood.
globalThis.EventSource = declared.ResumableEventSource as unknown as typeof EventSource;
const es = new EventSource('/x', { withCredentials: true });
es.onmessage = ({ data, lastEventId }: MessageEvent) => console.log(data, lastEventId, es.readyState === es.CLOSED);

// A caller's code.
const mine = new declared.ResumableEventSource(new URL('http://a.test'), { method: 'POST', json: [1], headers: async () => ({ a: 'b' }) });
mine.onerror = ({ reason, delay, error }) => console.log(reason === 'finished', (delay ?? 0) + 1, error.code);
mine.addEventListener('tickertape:retry', ({ detail }) => console.log(detail.least + 1));
mine.addEventListener('token', ({ data, bytes }) => console.log(data.length + bytes));
// @ts-expect-error - no such reason
mine.onerror = ({ reason }) => reason === 'bored';
// @ts-expect-error - read only
mine.readyState = 2;
for (const { data, retry } of new declared.Decoder({ onComment: (text) => text.trim() }).feed(new Uint8Array())) {
  console.log(data.length, retry === null);
}
