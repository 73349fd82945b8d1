// @ts-check
/**
 * Keeps the newest line in view until the reader scrolls away by hand, and again once the end is reached. Only a
 * gesture lets go: text that grows never does, and neither does what the page scrolls itself.
 */

/** Pixels from the end that count as the end for who comes down to it; who leaves it may do so in smaller steps. */
const NEAR = 32;

/** Pixels: beyond any page's end. The browser goes as far as there is something, and need not be asked how far that is. */
const END = 1e9;

export class Sticky {
  #held = true;
  #last = 0;

  /** @param {HTMLElement} scroller @param {HTMLElement} newest the button that leads back to the end */
  constructor(scroller, newest) {
    // Observers are called when the layout is done: to ask for it with every text that is written would do it twice.
    const resized = new ResizeObserver(() => this.follow());
    for (const part of [scroller, ...scroller.children]) resized.observe(part);
    this.scroller = scroller;
    this.newest = newest;
    const passive = { passive: true };
    scroller.addEventListener('wheel', (event) => event.deltaY < 0 && this.#letGo(), passive);
    scroller.addEventListener('touchmove', () => this.#look(), passive);
    scroller.addEventListener('keydown', ({ key }) => {
      if (['ArrowUp', 'PageUp', 'Home'].includes(key)) this.#letGo();
      else if (key === 'End') this.toEnd(); // by itself the browser goes to where the end was
    });
    scroller.addEventListener('scroll', () => this.#look(), passive);
    newest.addEventListener('click', () => this.toEnd());
  }

  /** Something was written: stay at the end, if that is where we were. */
  follow() {
    const { scroller } = this;
    if (!this.#held) return this.#show();
    scroller.scrollTop = END;
    this.#last = scroller.scrollTop;
  }

  toEnd() {
    this.#held = true;
    this.follow();
    this.#show();
  }

  /** Whether the newest line is kept in view. */
  get held() {
    return this.#held;
  }

  /** Put something above what is read, and let that stay where it is. @param {() => void} work */
  keep(work) {
    const { scroller } = this;
    const { scrollHeight, scrollTop } = scroller;
    work();
    scroller.scrollTop = this.#last = scrollTop + scroller.scrollHeight - scrollHeight;
  }

  /** Scroll by this, for the page and not by hand: the end is kept in view if that is where it leads. @param {number} by */
  move(by) {
    this.scroller.scrollTop += by;
    this.#last = this.scroller.scrollTop;
    this.#held = this.#rest <= NEAR;
    this.#show();
  }

  get #rest() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #letGo() {
    if (this.scroller.scrollHeight > this.scroller.clientHeight) this.#held = false;
    this.#show();
  }

  /** A scrollbar or a finger moved up, or the end is reached. */
  #look() {
    const { scrollTop } = this.scroller;
    if (this.#held && scrollTop === this.#last) return; // we have done that
    if (this.#rest < (scrollTop > this.#last ? NEAR : 1)) this.#held = true;
    else if (scrollTop < this.#last) this.#held = false;
    this.#last = scrollTop;
    this.#show();
  }

  #show() {
    this.newest.hidden = this.#held || this.#rest <= NEAR;
  }
}
