// The plain way to show a growing answer: parse all of it again with every delta. Reads the same stream as the page.
async function show(question) {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ messages: [{ role: 'user', content: question }] });
  const response = await fetch('/api/openai/stream', { method: 'POST', headers, body });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const place = document.body.appendChild(document.createElement('article'));
  let [text, rest] = ['', ''];
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (rest + read.value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1] ?? '[DONE]';
      const delta = data === '[DONE]' ? null : JSON.parse(data).choices?.[0]?.delta?.content;
      if (!delta) continue;
      text += delta;
      place.innerHTML = marked.parse(text);
    }
  }
  return place.textContent.length;
}
