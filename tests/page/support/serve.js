// @ts-check
/**
 * What a browser needs to run the conformance tests, on one origin; prints the port and ends with its standard input.
 *
 * `/` an empty page · `/src/*` the sources · `/support/*` these files · `/cases` every case of reading ·
 * `/case/N` one of them as a stream · `/scenarios` · `/N` a scenario · `/log?PATH` what that path was asked · `/recorded`
 * what the recorded answer is · `/cut/N` that answer, whose first connection breaks after N bytes.
 */
import { readFileSync } from 'node:fs';

import { behaviourScenarios, formatCases, joined } from './cases.js';
import { EXPECTED, answerUpTo, sizes } from './recorded.js';
import { serveScenarios } from './scenarios.js';
import { head } from './server.js';

const SOURCES = new URL('../../../src/', import.meta.url);
const SUPPORT = new URL('./', import.meta.url);
const { cases } = formatCases();
const scenarios = behaviourScenarios() ?? [];

const inBase64 = cases.map(({ chunks, ...it }) => ({ ...it, chunks: chunks.map((/** @type {any} */ it) => Buffer.from(it).toString('base64')) }));

/** @param {string} path @returns {[string, string | Uint8Array]} content type and body */
function resource(path) {
  const [, folder, name] = /^\/(\w*)(?:[/?](.*))?$/.exec(path) ?? [];
  switch (folder) {
    case '': return ['text/html', '<!doctype html><link rel="icon" href="data:,"><title>conformance</title>'];
    case 'src': return ['text/javascript', readFileSync(new URL(name, SOURCES))];
    case 'support': return ['text/javascript', readFileSync(new URL(name, SUPPORT))];
    case 'cases': return ['application/json', JSON.stringify(inBase64)];
    case 'case': return [cases[Number(name)].contentType, joined(cases[Number(name)].chunks)];
    case 'recorded': return ['application/json', JSON.stringify({ expected: EXPECTED, ...sizes('POST', '/cut/000') })];
    case 'scenarios': return ['application/json', JSON.stringify(scenarios)];
    default: return ['application/json', JSON.stringify(server.log(name))];
  }
}

/** @type {Set<string>} */ const broken = new Set();

const server = await serveScenarios(scenarios, (request, socket) => {
  const [, limit] = /^\/cut\/(\d+)$/.exec(request.path) ?? [];
  if (limit) {
    const again = broken.has(request.path);
    broken.add(request.path);
    return answerUpTo(again ? Infinity : Number(limit), request, socket);
  }
  const [type, body] = resource(request.path);
  socket.write(head(200, { 'Content-Type': type, 'Cache-Control': 'no-store' }));
  return socket.end(body);
});
process.stdin.on('end', () => process.exit()).resume();
console.log(server.origin);
