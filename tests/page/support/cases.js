// @ts-check
/** The conformance cases as data; see conformance/README.md. Those that lie beside the checkout may be absent. */
import { existsSync, readFileSync } from 'node:fs';

const OURS = new URL('../../../conformance/', import.meta.url);
const SHARED = new URL('../../../../shared/conformance/', import.meta.url);

/** @param {URL} folder @param {string} name @returns {any[] | null} */
function load(folder, name) {
  const file = new URL(`${name}.json`, folder);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
}

/** @param {string} base64 @returns {Uint8Array} */
export const bytesOf = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));

/** All cases of reading, in one shape; `missing` names the files that are not there. Some end at the response's head. */
export function formatCases() {
  const files = { ours: load(OURS, 'format'), wpt_format: load(SHARED, 'wpt_format'), chunk_cases: load(SHARED, 'chunk_cases') };
  const missing = Object.entries(files).flatMap(([name, cases]) => (cases ? [] : [name]));
  const cases = Object.entries(files).flatMap(([file, list]) => (list ?? []).map((it) => ({ file, ...it })));
  return { missing, cases: cases.map(sameShape) };
}

/** @param {any} it */
function sameShape(it) {
  return {
    name: `${it.file}: ${it.name}`,
    chunks: (it.chunks_b64 ?? [it.input_b64]).map(bytesOf),
    expected: it.expected,
    retry: it.retry,
    lastEventId: it.last_event_id ?? it.last_event_id_after,
    comments: it.comments ?? null,
    contentType: it.content_type ?? 'text/event-stream',
    opens: it.http_expect !== 'fail',
  };
}

/** The responses and what a client makes of them, or null. @returns {any[] | null} */
export const behaviourScenarios = () => load(SHARED, 'behaviour_scenarios');

/** @param {Uint8Array[]} chunks */
export function joined(chunks) {
  return new Uint8Array(Buffer.concat(chunks));
}

/** @param {Uint8Array} bytes @param {number} size */
export function pieces(bytes, size) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}
