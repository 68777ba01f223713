// Wait tokens and public tokens for them, as a program outside uses them.
import { auth, wait, runs, tasks } from "@trigger.dev/sdk";
import { given, refused, answer } from "./client.mjs";

const out = {};
// Addresses name the installation's public host, which a test has none of.
const here = (url) => process.env.TRIGGER_API_URL + new URL(url).pathname;
const ids = async (params) => {
  const found = [];
  for await (const token of wait.listTokens(params)) found.push(token.id);
  return found;
};
const as = (accessToken, call) => auth.withAuth({ accessToken }, call);

// ---- create, retrieve
const token = await wait.createToken({ timeout: "1h", tags: ["order:7", "sdk"], idempotencyKey: "order-7", idempotencyKeyTTL: "2h" });
const again = await wait.createToken({ idempotencyKey: "order-7" });
out.cached = [token.isCached, again.isCached, again.id === token.id, again.url === token.url];
const open = await wait.retrieveToken(token);
out.open = {
  ...open,
  id: open.id === token.id,
  url: open.url !== token.url,
  createdAt: open.createdAt instanceof Date,
  minutes: Math.round((open.timeoutAt - open.createdAt) / 60000),
  keyMinutes: Math.round((open.idempotencyKeyExpiresAt - open.createdAt) / 60000),
  timeoutAt: undefined,
  idempotencyKeyExpiresAt: undefined,
};
const until = new Date(Date.now() + 86400000);
const dated = await wait.retrieveToken((await wait.createToken({ timeout: until })).id);
out.dated = Math.abs(dated.timeoutAt - until) < 1000;
const bare = await wait.retrieveToken((await wait.createToken()).id);
out.minutes = Math.round((bare.timeoutAt - bare.createdAt) / 60000);

// ---- complete
const run = await tasks.trigger("sdk.token", token.id);
out.completed = await wait.completeToken(token, { status: "approved", at: new Date(0), nothing: undefined });
out.twice = await wait.completeToken(token.id, { status: "declined" });
const done = await wait.retrieveToken(token);
out.done = [done.status, done.output, done.completedAt instanceof Date, done.error === undefined];
out.answer = (await runs.poll(run, { pollIntervalMs: 50 })).output;
const nothing = await wait.createToken();
out.nothing = [await wait.completeToken(nothing, undefined), (await wait.retrieveToken(nothing)).output];

// ---- the callback address
const hooked = await wait.createToken();
const posted = await fetch(here(hooked.url), { method: "POST", body: JSON.stringify({ from: "outside" }) });
out.callback = [posted.status, await posted.json(), (await wait.retrieveToken(hooked)).output];
out.looked = (await fetch(here(bare.url))).status;
out.hidden = (await fetch(here(bare.url), { method: "POST", body: "1" })).status;

// ---- timed out
const late = await wait.createToken({ timeout: "1s" });
let expired = await wait.retrieveToken(late);
for (let tries = 0; expired.status === "WAITING" && tries < 100; tries++) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  expired = await wait.retrieveToken(late);
}
out.expired = [expired.status, expired.error?.name, expired.output === undefined];
out.tooLate = await wait.completeToken(late, 1);
out.stays = (await wait.retrieveToken(late)).status;

// ---- list
out.byTag = (await ids({ tags: "order:7" })).length;
out.byTags = (await ids({ tags: ["order:7", "other"] })).length;
out.byKey = (await ids({ idempotencyKey: "order-7" }))[0] === token.id;
out.byStatus = [(await ids({ status: "TIMED_OUT" })).length, (await ids({ status: ["COMPLETED"] })).length];
out.byTime = [(await ids({ from: new Date(Date.now() - 3600000), period: "1d" })).length > 4, (await ids({ to: new Date(0) })).length];
const all = await ids({});
out.pages = JSON.stringify(await ids({ limit: 2 })) === JSON.stringify(all) && all.length === new Set(all).size;

// ---- public tokens
const shared = await wait.createToken();
out.completesNoOther = await refused(() => as(shared.publicAccessToken, () => wait.completeToken(bare.id, 1)));
out.readsNothing = await refused(() => as(shared.publicAccessToken, () => wait.retrieveToken(shared)));
out.completes = await as(shared.publicAccessToken, () => wait.completeToken(shared, "public"));
out.completedPublicly = (await wait.retrieveToken(shared)).output;
const reader = await auth.createPublicToken({ scopes: { read: { waitpoints: shared.id } }, expirationTime: "30s" });
out.reads = (await as(reader, () => wait.retrieveToken(shared))).output;
out.completesNothing = await refused(() => as(reader, () => wait.completeToken(bare.id, 1)));
const useless = await auth.createPublicToken();
out.useless = await refused(() => as(useless, () => wait.retrieveToken(shared)));
const brief = await auth.createPublicToken({ scopes: { read: { waitpoints: shared.id } }, expirationTime: Math.floor(Date.now() / 1000) - 1 });
out.expiredToken = await refused(() => as(brief, () => wait.retrieveToken(shared)));
const long = await auth.createPublicToken({ scopes: { read: { waitpoints: shared.id } }, expirationTime: "31d" });
out.tooLong = await refused(() => as(long, () => wait.retrieveToken(shared)));

// ---- refused
out.foreign = await refused(() => wait.retrieveToken(given("FOREIGN")));
out.foreignComplete = await refused(() => wait.completeToken(given("FOREIGN"), 1));
out.badTimeout = await refused(() => wait.createToken({ timeout: "soon" }));
out.review = await refused(() => wait.completeToken(given("REVIEW"), { message: "many" }));
out.reviewed = await wait.completeToken(given("REVIEW"), { message: 4 });
out.outside = await wait.forToken(bare.id).catch((error) => error.message);

answer(out);
