// What the scripts share.
// @ts-check

/** What a script was given under a name. */
export const given = (/** @type {string} */ name) => JSON.parse(process.env[name] ?? "null");

/** The error of a call that must fail, as JSON. */
export async function refused(/** @type {() => Promise<unknown>} */ call) {
  const began = Date.now();
  try {
    const value = await call();
    return { unexpected: value ?? null };
  } catch (error) {
    return {
      kind: error.constructor.name,
      name: error.name,
      status: error.status ?? null,
      code: error.code ?? null,
      message: error.message,
      seconds: (Date.now() - began) / 1000,
    };
  }
}

/** All items of a paged call. */
export async function all(/** @type {AsyncIterable<any>} */ pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

/** Waits until a check holds, or fails. */
export async function until(/** @type {() => Promise<unknown>} */ check, ms = 15000) {
  const ends = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > ends) throw new Error("It did not happen in time.");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The script's answer. */
export const answer = (/** @type {unknown} */ value) => console.log(JSON.stringify(value));
