// @ts-check
/** Decodes what it is given, a JSON line of {chunks, limit, id} at a time, and answers with a line of what came of it. */
import { createInterface } from 'node:readline';

import { Decoder, EventTooLarge } from '../../../src/tickertape/page/sse.js';
import { bytesOf } from './cases.js';

for await (const line of createInterface({ input: process.stdin })) {
  const { chunks, limit, id } = JSON.parse(line);
  /** @type {unknown[]} */ const seen = [];
  const decoder = new Decoder({ maxEventSize: limit, lastEventId: id, onComment: (text) => seen.push(['comment', text]) });
  try {
    for (const chunk of chunks) {
      for (const event of decoder.feed(bytesOf(chunk))) seen.push(['event', event.data, event.type, event.id, event.retry]);
      seen.push(['after', decoder.lastEventId, decoder.retry]);
    }
    decoder.close();
  } catch (error) {
    if (!(error instanceof EventTooLarge)) throw error;
    seen.push(['too large', error.limit]);
  }
  console.log(JSON.stringify(seen));
}
