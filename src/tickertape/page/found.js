// @ts-check
/** Words that were searched for, set off where they stand: by the style sheet's `::highlight(found)`, without another node. */

/** Set these off in an element, and nothing elsewhere. @param {Element | null} element @param {string} words
 * @returns {Element | null} where the first of them stands */
export function setOff(element, words) {
  if (!globalThis.Highlight) return null;
  CSS.highlights.delete('found');
  const ranges = element ? rangesOf(element, words.toLowerCase().split(/\s+/).filter(Boolean)) : [];
  if (!ranges.length) return null;
  CSS.highlights.set('found', new Highlight(...ranges));
  return ranges[0].startContainer.parentElement;
}

/** @param {Element} element @param {string[]} words */
function rangesOf(element, words) {
  /** @type {Range[]} */ const ranges = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { data } = /** @type {Text} */ (node);
    const lower = data.toLowerCase();
    const text = lower.length === data.length ? lower : data; // a few capitals become two
    for (const word of words) {
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        ranges.push(range);
      }
    }
  }
  return ranges;
}
