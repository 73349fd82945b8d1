// @ts-check
/**
 * Keeps the newest line in view until the reader scrolls away by hand, and again once the end is reached. Only a
 * gesture lets go: text that grows never does, and neither does what the page scrolls itself.
 */

/** Pixels from the end that count as the end when scrolling down to it; scrolling up may be in smaller steps. */
const NEAR = 32;

/**
 * Pixels: beyond any page's end. The browser scrolls as far as it can, and need not be asked how far that is.
 */
const END = 1e9;

export class AutoScroll {
  #following = true;
  #last = 0;

  /** @param {HTMLElement} scroller @param {HTMLElement} newest the button that leads back to the end */
  constructor(scroller, newest) {
    // Observers are called when the layout is done: to ask for it with every text that is written would do it twice.
    const resized = new ResizeObserver(() => this.follow());
    for (const part of [scroller, ...scroller.children]) resized.observe(part);
    this.scroller = scroller;
    this.newest = newest;
    const passive = { passive: true };
    scroller.addEventListener('wheel', (event) => event.deltaY < 0 && this.#release(), passive);
    scroller.addEventListener('touchmove', () => this.#onScroll(), passive);
    scroller.addEventListener('keydown', ({ key }) => {
      if (['ArrowUp', 'PageUp', 'Home'].includes(key)) this.#release();
      else if (key === 'End') this.toEnd(); // by itself the browser goes to where the end was
    });
    scroller.addEventListener('scroll', () => this.#onScroll(), passive);
    newest.addEventListener('click', () => this.toEnd());
  }

  /** Something was written: stay at the end, if that is where we were. */
  follow() {
    const { scroller } = this;
    if (!this.#following) return this.#showButton();
    scroller.scrollTop = END;
    this.#last = scroller.scrollTop;
  }

  toEnd() {
    this.#following = true;
    this.follow();
    this.#showButton();
  }

  /** Whether the newest line is kept in view. */
  get following() {
    return this.#following;
  }

  /** Do work that adds content above, and keep what is in view where it is. @param {() => void} work */
  preserve(work) {
    const { scroller } = this;
    const { scrollHeight, scrollTop } = scroller;
    work();
    scroller.scrollTop = this.#last = scrollTop + scroller.scrollHeight - scrollHeight;
  }

  /**
   * Scroll by this, for the page and not by hand: the end is kept in view if that is where it leads.
   * @param {number} by
   */
  scrollBy(by) {
    this.scroller.scrollTop += by;
    this.#last = this.scroller.scrollTop;
    this.#following = this.#distance <= NEAR;
    this.#showButton();
  }

  get #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #release() {
    if (this.scroller.scrollHeight > this.scroller.clientHeight) this.#following = false;
    this.#showButton();
  }

  /** A scrollbar or a finger moved up, or the end is reached. */
  #onScroll() {
    const { scrollTop } = this.scroller;
    if (this.#following && scrollTop === this.#last) return; // we have done that
    if (this.#distance < (scrollTop > this.#last ? NEAR : 1)) this.#following = true;
    else if (scrollTop < this.#last) this.#following = false;
    this.#last = scrollTop;
    this.#showButton();
  }

  #showButton() {
    this.newest.hidden = this.#following || this.#distance <= NEAR;
  }
}
