// Bytes to events in JavaScript: page/sse.js beside the parsers that others use. `node bench/decode_js.mjs [--quick]`
//
// What this does not show, first: node alone, bytes that lie in memory, no network and no JSON. Every contestant runs in
// a process of its own and hands out the same events, which is checked. The parsers that take text are fed by a
// streaming TextDecoder, as their documentation says. A row shows the median of interleaved rounds in
// ns of CPU time an event, garbage collection included.
import { execFileSync, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const RIVALS = ['eventsource-parser@3', '@microsoft/fetch-event-source@2'];
const HOME = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tickertape-bench', 'decode-js');
const QUICK = process.argv.includes('--quick');

const delta = (index) =>
  JSON.stringify({
    id: 'chatcmpl-0123456789abcdef', object: 'chat.completion.chunk', created: 1790000000, model: 'gpt-4o-mini',
    choices: [{ index: 0, delta: { content: ` token${index % 97}` }, finish_reason: null }],
  });
const repeated = (count, frame) => Array.from({ length: count }, (_, index) => frame(index));
const joined = (frames) => Buffer.from(frames.join(''));
const reads = (bytes, size) => Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => new Uint8Array(bytes.subarray(at * size, (at + 1) * size)));
const frames = repeated(2000, (index) => `data: ${delta(index)}\n\n`);
const named = repeated(2000, (index) => `id: 0123456789abcdef.${index}\ndata: ${delta(index)}\n\n`);
const lines = (frame, end) => frame.replaceAll('\n', end);

/** name → the reads; each holds whole events in all, and says how many. */
const SHAPES = {
  'OpenAI chunks, 1 a read': () => [2000, frames.map((frame) => new Uint8Array(Buffer.from(frame)))],
  'OpenAI chunks, 64 KiB reads': () => [2000, reads(joined(frames), 65_536)],
  'OpenAI chunks, 1 460 B reads': () => [2000, reads(joined(frames), 1460)],
  'with id, 1 a read': () => [2000, named.map((frame) => new Uint8Array(Buffer.from(frame)))],
  'with id, 1 460 B reads': () => [2000, reads(joined(named), 1460)],
  'CRLF, 64 KiB reads': () => [2000, reads(joined(frames.map((frame) => lines(frame, '\r\n'))), 65_536)],
  'CR, 64 KiB reads': () => [2000, reads(joined(frames.map((frame) => lines(frame, '\r'))), 65_536)],
  'CJK text, 1 460 B reads': () => [2000, reads(joined(repeated(2000, () => `data: {"content":"${'日本語'.repeat(20)}"}\n\n`)), 1460)],
  'event, id, 5 data lines, 1 460 B reads': () => [2000, reads(joined(repeated(2000, (i) => `event: x\nid: ${i}\n${'data: some text of a line\n'.repeat(5)}\n`)), 1460)],
  'one event of 1 MiB, 1 460 B reads': () => [1, reads(joined([`data: ${'x'.repeat(2 ** 20)}\n\n`]), 1460)],
  'one event of 14 MB, 1 460 B reads': () => [1, reads(joined([`data: ${'x'.repeat(14e6)}\n\n`]), 1460)],
};

const from = async (name) => import(pathToFileURL(createRequire(join(HOME, 'x.js')).resolve(name)));

/** name → a function that makes a decoder: reads in, events counted with the characters of their data. */
const CONTESTANTS = {
  tickertape: async () => {
    const { Decoder } = await import('../src/tickertape/page/sse.js');
    return (chunks) => {
      const decoder = new Decoder();
      let [count, size] = [0, 0];
      for (const chunk of chunks) for (const { data } of decoder.feed(chunk)) count++, (size += data.length);
      return [count, size];
    };
  },
  'eventsource-parser': async () => {
    const { createParser } = await from('eventsource-parser');
    return (chunks) => {
      let [count, size] = [0, 0];
      const parser = createParser({ onEvent: ({ data }) => (count++, (size += data.length)) });
      const text = new TextDecoder();
      for (const chunk of chunks) parser.feed(text.decode(chunk, { stream: true }));
      return [count, size];
    };
  },
  'fetch-event-source': async () => {
    const { getLines, getMessages } = await from('@microsoft/fetch-event-source/lib/cjs/parse.js');
    return (chunks) => {
      let [count, size] = [0, 0];
      const ignore = () => {};
      const onLine = getLines(getMessages(ignore, ignore, ({ data }) => (count++, (size += data.length))));
      for (const chunk of chunks) onLine(chunk);
      return [count, size];
    };
  },
};

/** What a child does: one contestant, one shape, for about a second. */
async function measure(contestant, shape) {
  const decode = await CONTESTANTS[contestant]();
  const [count, chunks] = SHAPES[shape]();
  const size = decode(chunks); // the first run also checks
  const cpu = () => ((used) => used.user + used.system)(process.cpuUsage()); // µs; the clock on the wall sees others
  const run = (enough) => {
    const start = cpu();
    let rounds = 0;
    while (!rounds || cpu() - start < enough) rounds++, decode(chunks);
    return (cpu() - start) / rounds / count;
  };
  run(QUICK ? 100_000 : 300_000); // until the engine has compiled what is hot
  return { ns: run(QUICK ? 100_000 : 500_000) * 1e3, missing: count - size[0] };
}

function install() {
  const mark = join(HOME, 'wanted.json');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === JSON.stringify(RIVALS)) return;
  console.error(`Installing ${RIVALS.join(', ')} into ${HOME} ...`);
  mkdirSync(HOME, { recursive: true });
  writeFileSync(join(HOME, 'package.json'), '{"private": true}');
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', ...RIVALS], { cwd: HOME, stdio: 'ignore' });
  writeFileSync(mark, JSON.stringify(RIVALS));
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const shown = (ns) => (ns >= 1e6 ? `${(ns / 1e6).toFixed(1)} ms` : ns.toFixed(0));

function table() {
  install();
  const versions = RIVALS.map((rival) => {
    const name = rival.replace(/@\d+$/, '');
    return `${name} ${JSON.parse(readFileSync(join(HOME, 'node_modules', name, 'package.json'), 'utf8')).version}`;
  });
  console.log(`node ${process.version}, ${versions.join(', ')}; ${cpus()[0].model}\n`);
  const names = Object.keys(CONTESTANTS);
  console.log(`| CPU-ns an event | ${names.join(' | ')} |\n| --- |${' ---: |'.repeat(names.length)}`);
  for (const shape of Object.keys(SHAPES)) {
    const seen = Object.fromEntries(names.map((name) => [name, []]));
    let wrong = '';
    for (let round = 0; round < (QUICK ? 1 : 5); round++) {
      for (const name of names) {
        const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name, shape, ...(QUICK ? ['--quick'] : [])], { encoding: 'utf8' });
        const { ns, missing } = JSON.parse(child.stdout);
        seen[name].push(ns);
        if (missing && !wrong.includes(name)) wrong += ` (${name} misses ${missing} of them)`;
      }
    }
    console.log(`| ${shape}${wrong} | ${names.map((name) => shown(median(seen[name]))).join(' | ')} |`);
  }
}

const [contestant, shape] = process.argv.slice(2).filter((word) => !word.startsWith('--'));
if (contestant) console.log(JSON.stringify(await measure(contestant, shape)));
else table();
