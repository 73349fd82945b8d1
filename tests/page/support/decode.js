// @ts-check
import { Decoder } from '../../../src/tickertape/page/sse.js';

/** Everything that a decoder says about these reads, comparable with deepEqual. @param {Uint8Array[]} chunks */
export function decoded(chunks, options = {}) {
  /** @type {string[]} */ const comments = [];
  const decoder = new Decoder({ ...options, onComment: (text) => comments.push(text) });
  const events = chunks.flatMap((chunk) => decoder.feed(chunk));
  decoder.close();
  return { events, comments, retry: decoder.retry, lastEventId: decoder.lastEventId };
}
