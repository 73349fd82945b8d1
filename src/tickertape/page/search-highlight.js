// @ts-check
/**
 * Highlights the words that were searched for where they are: by the style sheet's `::highlight(search)`, without
 * another node.
 */

/** @type {MutationObserver | undefined} */ let observer;

/** Highlight these in an element, and nothing elsewhere. @param {Element | null} element @param {string} words
 * @returns {Range | undefined} the first of them, in view within the element */
export function highlight(element, words) {
  if (!globalThis.Highlight) return;
  observer?.disconnect();
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const mark = () => {
    const ranges = element ? rangesOf(element, wanted) : [];
    if (ranges.length) CSS.highlights.set('search', new Highlight(...ranges));
    else CSS.highlights.delete('search');
    return ranges[0];
  };
  const first = mark();
  if (!element || !first) return;
  // Code is coloured later, and an answer grows: the words are in other nodes then.
  observer = new MutationObserver(mark);
  observer.observe(element, { childList: true, subtree: true });
  for (let box = first.startContainer.parentElement; box && box !== element; box = box.parentElement) uncover(first, box);
  return first;
}

/** Long lines and wide tables scroll by themselves. @param {Range} range @param {Element} box */
function uncover(range, box) {
  const [place, { left, right }] = [range.getBoundingClientRect(), box.getBoundingClientRect()];
  if (place.left < left || place.right > right) box.scrollLeft += place.left + place.width / 2 - (left + right) / 2;
}

/** @param {Element} element @param {string[]} words */
function rangesOf(element, words) {
  /** @type {Range[]} */ const ranges = [];
  /** @type {[Node, number][]} where each begins */ const nodes = [];
  let text = ''; // as one: colour cuts code into pieces
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement?.closest('button')) continue;
    const { data } = /** @type {Text} */ (node);
    const lower = data.toLowerCase();
    nodes.push([node, text.length]);
    text += lower.length === data.length ? lower : data; // a few capitals become two
  }
  for (const word of words) {
    let i = 0;
    const holding = (/** @type {number} */ at) => {
      while (nodes[i + 1]?.[1] <= at) i++;
      return nodes[i];
    };
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
      const [first, begin] = holding(at);
      const [last, end] = holding(at + word.length - 1);
      const range = new Range();
      range.setStart(first, at - begin);
      range.setEnd(last, at + word.length - end);
      ranges.push(range);
    }
  }
  return ranges;
}
