// Triggers runs and does all that can be done to one.
import { auth, idempotencyKeys, runs, tags, tasks } from "@trigger.dev/sdk";
import { all, answer, given, refused, until } from "./client.mjs";

const poll = { pollIntervalMs: 50 };
const out = {};

// ---- payloads
const at = new Date("2026-01-02T03:04:05.678Z");
const rich = { at, big: 12345678901234567890n, set: new Set([1, at]), map: new Map([["k", undefined]]), nothing: undefined };
const echo = async (payload, options) => runs.poll(await tasks.trigger("sdk.echo", payload, options), poll);
out.object = (await echo({ a: [1, null, { b: "ü" }] })).output;
out.rich = (await echo(rich)).output;
out.text = (await echo("just text")).output;
out.number = (await echo(5)).output;
out.nothing = (await echo(undefined)).output ?? null;
const large = await echo({ text: "x".repeat(400_000) });
out.large = [large.payload.text.length, large.output.text.length];
out.tooLarge = await refused(() => tasks.trigger("sdk.echo", { text: "x".repeat(3_200_000) }));
out.slashed = (await runs.poll(await tasks.trigger("sdk/slashed", {}), poll)).output;

// ---- a handle, and what it may read by itself
const handle = await tasks.trigger("sdk.echo", { mine: true }, { tags: ["one", "two"], metadata: { m: 1 }, maxAttempts: 2, priority: 3 });
out.handle = { id: handle.id, hasToken: typeof handle.publicAccessToken === "string" };
const own = await auth.withAuth({ accessToken: handle.publicAccessToken }, () => runs.retrieve(handle.id));
out.ownStatus = own.id;
const done = await runs.poll(handle, poll);
out.done = { ...done, createdAt: done.createdAt instanceof Date, updatedAt: done.updatedAt instanceof Date };
const failed = await runs.poll(await tasks.trigger("sdk.fail", 7), poll);
out.failed = { status: failed.status, error: failed.error, isFailed: failed.isFailed };
const family = await runs.poll(await tasks.trigger("sdk.family", {}), poll);
out.family = { output: family.output, children: family.relatedRuns.children.map((run) => [run.taskIdentifier, run.depth, run.triggerFunction]) };

// ---- idempotency
const key = await idempotencyKeys.create("order 7", { scope: "global" });
const first = await tasks.trigger("sdk.echo", 1, { idempotencyKey: key, idempotencyKeyTTL: "1h" });
const again = await tasks.trigger("sdk.echo", 2, { idempotencyKey: key });
out.idempotent = [first.id === again.id, again.isCached];
out.plainKey = (await tasks.trigger("sdk.echo", 1, { idempotencyKey: "plain" })).id === (await tasks.trigger("sdk.echo", 1, { idempotencyKey: "plain" })).id;
out.reset = await idempotencyKeys.reset("sdk.echo", key);
out.afterReset = (await tasks.trigger("sdk.echo", 3, { idempotencyKey: key })).id !== first.id;
out.resetTwice = await refused(async () => { await idempotencyKeys.reset("sdk.echo", "nobody", { scope: "global" }); });

// ---- time
const delayed = await tasks.trigger("sdk.echo", 1, { delay: "1h", ttl: "10m" });
out.delayed = (await runs.retrieve(delayed.id)).status;
const moved = await runs.reschedule(delayed.id, { delay: new Date(Date.now() + 7_200_000) });
out.moved = Math.round((moved.delayedUntil.getTime() - Date.now()) / 60_000);
await runs.reschedule(delayed.id, { delay: "1s" });
out.ranLate = (await runs.poll(delayed.id, poll)).status;
out.rescheduleLate = await refused(() => runs.reschedule(delayed.id, { delay: "1h" }));
const burst = { debounce: { key: "b", delay: "1s", mode: "trailing" } };
const [one, two] = [await tasks.trigger("sdk.echo", "first", burst), await tasks.trigger("sdk.echo", "last", burst)];
out.debounced = [one.id === two.id, (await runs.poll(one.id, poll)).output];

// ---- cancel and replay
const sleeper = await tasks.trigger("sdk.sleep", { seconds: 3600 });
await until(async () => (await runs.retrieve(sleeper.id)).isWaiting);
out.cancel = (await runs.cancel(sleeper.id)).id === sleeper.id;
const cancelled = await runs.poll(sleeper.id, poll);
out.cancelled = [cancelled.status, cancelled.isCancelled, cancelled.metadata];
out.cancelTwice = (await runs.cancel(sleeper.id)).id === sleeper.id;
const replayed = await runs.replay(handle.id);
out.replayed = (await runs.poll(replayed.id, poll)).output;
const changed = await runs.replay(handle.id, { payload: { at }, tags: ["again"] });
const changedRun = await runs.poll(changed.id, poll);
out.changed = [changedRun.output, changedRun.tags];

// ---- lists
const listed = (query) => all(runs.list(query));
out.byTag = (await listed({ tag: "one" })).map((run) => run.id).includes(handle.id);
out.byStatus = [...new Set((await listed({ status: ["FAILED", "CANCELED"] })).map((run) => run.status))].sort();
out.byTask = [...new Set((await listed({ taskIdentifier: "sdk.fail" })).map((run) => run.taskIdentifier))];
out.byQueue = [...new Set((await listed({ queue: { type: "task", name: "sdk/slashed" } })).map((run) => run.taskIdentifier))];
out.byTime = [
  (await listed({ from: new Date(Date.now() + 60_000) })).length,
  (await listed({ to: Date.now() - 3_600_000 })).length,
  (await listed({ period: "1h" })).length > 10,
];
out.isTest = [(await listed({ isTest: true })).length, (await listed({ isTest: false })).length > 10];
const everything = await listed();
const bySmallPages = await listed({ limit: 4 });
out.pages = everything.length > 12 && JSON.stringify(everything.map((run) => run.id)) === JSON.stringify(bySmallPages.map((run) => run.id));
const page = await runs.list({ limit: 5 });
const next = await page.getNextPage();
const back = await next.getPreviousPage();
out.backAndForth = JSON.stringify(back.data.map((run) => run.id)) === JSON.stringify(page.data.map((run) => run.id));
out.badVersion = await refused(() => listed({ version: "20260101.1" }));

// ---- what is refused
out.badKey = await refused(() => auth.withAuth({ secretKey: "fm_wrong" }, () => tasks.trigger("sdk.echo", 1)));
out.unknownTask = await refused(() => tasks.trigger("sdk.nobody", 1));
out.unknownRun = await refused(() => runs.retrieve("run_01k9zzzzzzzzzzzzzzzzzzzzzz"));
out.foreignRun = await refused(() => runs.retrieve(given("FOREIGN")));
out.foreignCancel = await refused(() => runs.cancel(given("FOREIGN")));
out.badOption = await refused(() => tasks.trigger("sdk.echo", 1, { ttl: "soon" }));
out.region = await refused(() => tasks.trigger("sdk.echo", 1, { region: "eu-central-1" }));
out.manyTags = await refused(() => tasks.trigger("sdk.echo", 1, { tags: [..."abcdefghijk"] }));
out.longKey = await refused(() => tasks.trigger("sdk.echo", 1, { idempotencyKey: "k".repeat(64).repeat(40) }));
out.readOnly = await refused(() => auth.withAuth({ secretKey: given("READER") }, () => tasks.trigger("sdk.echo", 1)));
out.reader = (await auth.withAuth({ secretKey: given("READER") }, () => runs.retrieve(handle.id))).id === handle.id;
out.tagsOutside = await refused(() => tags.add("x"));

answer(out);
