// Reads the same stream as the page and does nothing with it: what the browser alone takes for each read.
async function show(question) {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ messages: [{ role: 'user', content: question }] });
  const response = await fetch('/api/openai/stream', { method: 'POST', headers, body });
  const reader = response.body.getReader();
  let size = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) size += read.value.length;
  return size;
}
