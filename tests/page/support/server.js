// @ts-check
/** A server on raw sockets: it can say anything, stop anywhere, and sees the bytes of a request's headers. */
import net from 'node:net';

/**
 * @typedef {{method: string, path: string, headers: Record<string, string>, body: string, at: number}} Request
 * @typedef {(request: Request, socket: net.Socket) => unknown} Answer
 * @typedef {{origin: string, requests: Request[], closed: () => Promise<unknown>, close: () => Promise<unknown>}} Server
 */

/** Listen on a free port; `answer` is called with each request, one a connection. @param {Answer} answer */
export async function listen(answer) {
  /** @type {Set<net.Socket>} */ const sockets = new Set();
  /** @type {Request[]} */ const requests = [];
  /** @type {(() => void)[]} */ const waiting = [];
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => {}).setNoDelay());
    socket.on('close', () => {
      sockets.delete(socket);
      waiting.splice(0).forEach((resolve) => resolve());
    });
    let received = '';
    socket.on('data', (data) => {
      received += data.toString('latin1');
      const request = parsed(received);
      if (!request) return;
      received = '';
      requests.push(request);
      answer(request, socket);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  return {
    origin: `http://127.0.0.1:${port}`,
    requests,
    /** Wait until the client has let go of a connection. @returns {Promise<void>} */
    closed: () => new Promise((resolve) => waiting.push(resolve)),
    close() {
      sockets.forEach((socket) => socket.destroy());
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A request once it is complete; header values hold their bytes as Latin-1 characters. @param {string} text */
function parsed(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const [line, ...fields] = text.slice(0, end).split('\r\n');
  const [method, path] = line.split(' ');
  const headers = Object.fromEntries(fields.map((field) => [field.split(':', 1)[0].toLowerCase(), field.replace(/^[^:]*: */, '')]));
  const body = text.slice(end + 4);
  return body.length < Number(headers['content-length'] ?? 0) ? null : { method, path, headers, body, at: performance.now() };
}

/** The bytes of a head. @param {number} status @param {Record<string, string | number>} [headers] */
export function head(status, headers = {}) {
  const fields = Object.entries({ Connection: 'close', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} X\r\n${fields.join('')}\r\n`;
}

export const STREAM = { 'Content-Type': 'text/event-stream; charset=utf-8' };

/** One HTTP chunk. @param {string | Uint8Array} data */
export function chunk(data) {
  const bytes = Buffer.from(data);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}
