// @ts-check
/** Work that is asked for faster than it can be done. Pure. */

/** Do it one at a time: calls that come while it is being done become one more time. @param {() => unknown} work */
export function oneAtATime(work) {
  /** @type {Promise<void> | null} */ let running = null;
  let again = false;
  const run = async () => {
    while (again) {
      again = false;
      await work();
    }
  };
  return () => {
    again = true;
    running ??= run().finally(() => (running = null));
    return running;
  };
}
