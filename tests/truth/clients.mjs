// Runs where the npm packages are installed: asks a server for every model through openai-node and the AI SDK, streamed
// and whole, and prints what a program that uses them is told, one line of JSON for each.
//
// Arguments: the server's base URL, the models.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, streamText, tool } from 'ai';
import OpenAI from 'openai';

const [baseURL, ...models] = process.argv.slice(2);
const AT_ONCE = 8;

const client = new OpenAI({ baseURL, apiKey: 'sk-none', maxRetries: 0 });
const messages = [{ role: 'user', content: 'hi' }];

/** What an OpenAI message holds. */
const held = (message, finish) => ({
  text: message.content ?? '',
  reasoning: message.reasoning_content ?? '',
  details: message.reasoning_details ?? [],
  refusal: message.refusal ?? '',
  calls: (message.tool_calls ?? []).map((call) => [call.id, call.type, call.function?.name, call.function?.arguments]),
  sources: (message.annotations ?? []).map((one) => one.url_citation?.url ?? null),
  images: (message.images ?? []).map((one) => one.image_url.url),
  finish,
});

/** What the stream helper gathers, and what a program gathers that reads the same chunks itself. */
async function openaiStreamed(model) {
  const message = { content: '', reasoning_content: '', refusal: '', reasoning_details: [], tool_calls: [], annotations: [], images: [] };
  let finish = null;
  const stream = client.chat.completions.stream({ model, messages });
  stream.on('chunk', ({ choices }) => {
    for (const { delta, finish_reason: reason } of choices) {
      for (const name of ['content', 'reasoning_content', 'refusal']) message[name] += delta[name] ?? '';
      for (const name of ['reasoning_details', 'annotations', 'images']) message[name].push(...(delta[name] ?? []));
      for (const piece of delta.tool_calls ?? []) {
        const call = message.tool_calls[piece.index];
        if (call) call.function.arguments += piece.function?.arguments ?? '';
        else message.tool_calls[piece.index] = structuredClone(piece);
      }
      finish = reason ?? finish;
    }
  });
  const [choice] = (await stream.finalChatCompletion()).choices;
  return { openaiHelper: held(choice.message, choice.finish_reason), openaiChunks: held(message, finish) };
}

async function openaiWhole(model) {
  const [choice] = (await client.chat.completions.create({ model, messages })).choices;
  return { openaiWhole: held(choice.message, choice.finish_reason) };
}

const upstream = createOpenAICompatible({ name: 'tickertape', baseURL, apiKey: 'sk-none' });
const given = tool({ inputSchema: jsonSchema({ type: 'object' }) });
const asked = (model) => ({ model: upstream(model), prompt: 'hi', tools: { f: given, g: given }, maxRetries: 0 });
const called = (call) => [call.toolCallId, 'function', call.toolName, JSON.stringify(call.input), call.invalid ?? false];

async function aiStream(model) {
  const said = { text: '', reasoning: '', calls: [], finish: null };
  const answer = streamText({ ...asked(model), onError: () => {} });
  for await (const part of answer.stream ?? answer.fullStream) {
    if (part.type === 'text-delta') said.text += part.text;
    else if (part.type === 'reasoning-delta') said.reasoning += part.text;
    else if (part.type === 'tool-call') said.calls.push(called(part));
    else if (part.type === 'error') throw part.error;
    else if (part.type === 'finish') said.finish = part.finishReason;
  }
  return { aiStream: said };
}

async function aiWhole(model) {
  const { text, reasoningText, toolCalls, finishReason } = await generateText(asked(model));
  return { aiWhole: { text, reasoning: reasoningText ?? '', calls: toolCalls.map(called), finish: finishReason } };
}

const ASKED = [
  [openaiStreamed, ['openaiHelper', 'openaiChunks']],
  [openaiWhole, ['openaiWhole']],
  [aiStream, ['aiStream']],
  [aiWhole, ['aiWhole']],
];
const left = models.flatMap((model) => ASKED.map(([ask, ways]) => [model, ask, ways]));

async function work() {
  for (let next = left.shift(); next; next = left.shift()) {
    const [model, ask, ways] = next;
    const said = await ask(model).catch((error) => {
      const told = { error: `${error?.name}: ${error?.message}`, status: error?.status ?? error?.statusCode ?? null };
      return Object.fromEntries(ways.map((way) => [way, told]));
    });
    for (const way of ways) {
      const told = 'error' in said[way] ? 'error' : 'end';
      console.log(JSON.stringify({ model, way, told, ...said[way] }));
    }
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, work));
process.exit(0);
