// Runs where the AI SDK is installed: asks for every fault through it, and prints what a program that uses it is told.
//
// Arguments: its base URL, the seconds after which it is said to wait, the faults. One line of JSON for each, as asking.py
// prints them. The program reads the stream with all its parts: errors come as parts there, and a program that reads
// the text alone has to ask for them with onError.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { streamText } from 'ai';

const [url, patience, ...faults] = process.argv.slice(2);
const models = createOpenAICompatible({ name: 'upstream', baseURL: url, apiKey: 'sk-none' });
const AT_ONCE = 10;

async function told(fault) {
  const said = { fault, told: 'end', finish: null, status: null, text: '' };
  const read = async () => {
    const answer = streamText({ model: models(fault), prompt: 'hi', onError: () => {} });
    for await (const part of answer.stream ?? answer.fullStream) {
      if (part.type === 'text-delta') said.text += part.text;
      else if (part.type === 'error') throw part.error;
      else if (part.type === 'finish') said.finish = part.finishReason;
    }
  };
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(() => resolve('waits'), 1000 * Number(patience)); });
  try {
    if ((await Promise.race([read(), late])) === 'waits') said.told = 'waits';
  } catch (error) {
    Object.assign(said, { told: 'error', error: error?.name ?? String(error), status: error?.statusCode ?? null });
  }
  clearTimeout(timer);
  return { ...said };
}

const left = [...faults];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  while (left.length) console.log(JSON.stringify(await told(left.shift())));
}));
process.exit(0);
