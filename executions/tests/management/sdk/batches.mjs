// Batches in all their forms, queues, and public tokens.
import { auth, batch, queues, runs, tasks } from "@trigger.dev/sdk";
import { all, answer, given, refused, until } from "./client.mjs";

const poll = { pollIntervalMs: 50 };
const out = {};
const finished = (id) => until(async () => {
  const found = await batch.retrieve(id);
  return !["PENDING", "PROCESSING"].includes(found.status) && found;
});

// ---- batches
const one = await tasks.batchTrigger("sdk.echo", [
  { payload: { n: 0 }, options: { tags: ["a"] } },
  { payload: { n: 1, at: new Date(0) } },
  { payload: { n: 2, text: "y".repeat(150_000) } },
]);
out.handle = { count: one.runCount, hasToken: typeof one.publicAccessToken === "string" };
const done = await finished(one.batchId);
out.done = { status: done.status, count: done.runCount, errors: done.processing.errors, completed: done.processing.completedAt instanceof Date };
const outputs = await Promise.all(done.runs.map((id) => runs.poll(id, poll)));
out.outputs = outputs.map((run) => [run.output.n, run.output.at ?? null, run.output.text?.length ?? 0, run.batchId === one.batchId, run.triggerFunction]);
out.byBatch = (await all(runs.list({ batch: one.batchId }))).map((run) => run.id).sort().join() === [...done.runs].sort().join();
out.own = (await auth.withAuth({ accessToken: one.publicAccessToken }, () => batch.retrieve(one.batchId))).id === one.batchId;

const mixed = await batch.trigger([
  { id: "sdk.echo", payload: "text" },
  { id: "sdk.fail", payload: 1 },
  { id: "sdk.nobody", payload: 1 },
]);
const mixedDone = await finished(mixed.batchId);
out.mixed = { status: mixedDone.status, runs: mixedDone.runs.length, errors: mixedDone.processing.errors.map((error) => [error.index, error.taskIdentifier, error.errorCode]) };

const byTask = await batch.triggerByTask([{ task: { id: "sdk.echo" }, payload: 1 }]);
out.byTask = (await finished(byTask.batchId)).status;

async function* stream() {
  for (let n = 0; n < 5; n++) yield { payload: { n } };
}
const streamed = await tasks.batchTrigger("sdk.echo", stream());
out.streamed = [(await finished(streamed.batchId)).status, streamed.runCount];

const keyed = () => tasks.batchTrigger("sdk.echo", [{ payload: 1 }, { payload: 2 }], { idempotencyKey: "weekly" });
out.keyed = (await keyed()).batchId === (await keyed()).batchId;

const began = Date.now();
const many = await tasks.batchTrigger("sdk.echo", Array.from({ length: 1000 }, (_, n) => ({ payload: { n } })));
out.manySeconds = (Date.now() - began) / 1000;
out.many = [(await finished(many.batchId)).status, (await batch.retrieve(many.batchId)).runs.length];
out.tooMany = await refused(() => tasks.batchTrigger("sdk.echo", Array.from({ length: 1001 }, () => ({ payload: 1 }))));
out.unknownBatch = await refused(() => batch.retrieve("batch_01k9zzzzzzzzzzzzzzzzzzzzzz"));

// ---- queues
const slashed = { type: "task", name: "sdk/slashed" };
out.queue = await queues.retrieve(slashed);
out.queueByName = (await queues.retrieve({ type: "custom", name: "sdk shared/queue" })).name;
out.queueById = (await queues.retrieve(out.queue.id)).name;
out.queuesListed = (await all(queues.list({ perPage: 3 }))).map((queue) => queue.name).filter((name) => name.startsWith("sdk"));
out.unknownQueue = await refused(() => queues.retrieve("nowhere"));
out.pauseForbidden = await refused(() => queues.pause(slashed));
await auth.withAuth({ secretKey: given("STAFF") }, async () => {
  out.paused = [(await queues.pause(slashed)).paused, (await queues.pause(slashed)).paused];
});
const held = await tasks.trigger("sdk/slashed", {});
out.queued = (await queues.retrieve(slashed)).queued;
await auth.withAuth({ secretKey: given("STAFF") }, async () => {
  out.overridden = (await queues.overrideConcurrencyLimit(slashed, 3)).concurrency;
  out.badLimit = await refused(() => queues.overrideConcurrencyLimit(slashed, 0));
  out.reset = (await queues.resetConcurrencyLimit(slashed)).concurrencyLimit;
  out.resumed = (await queues.resume(slashed)).paused;
});
out.ran = (await runs.poll(held, poll)).status;

// ---- public tokens
const token = await auth.createPublicToken({ scopes: { read: { runs: [held.id] } }, expirationTime: "5m" });
const as = (accessToken, call) => auth.withAuth({ accessToken }, call);
out.readsItsRun = (await as(token, () => runs.retrieve(held.id))).id === held.id;
out.readsNoOther = await refused(() => as(token, () => runs.retrieve(outputs[0].id)));
out.cancelsNothing = await refused(() => as(token, () => runs.cancel(held.id)));
const ofTag = await auth.createPublicToken({ scopes: { read: { tags: ["a"] } } });
out.readsByTag = (await as(ofTag, () => runs.retrieve(outputs[0].id))).id === outputs[0].id;
out.listsByTag = (await as(ofTag, () => all(runs.list({ tag: "a" })))).length;
out.listsNoMore = await refused(() => as(ofTag, () => runs.list()));
const trigger = await auth.createTriggerPublicToken("sdk.echo");
const byToken = await as(trigger, () => tasks.trigger("sdk.echo", "by token"));
out.triggers = (await as(byToken.publicAccessToken, () => runs.poll(byToken, poll))).output;
out.triggersOnce = await refused(() => as(trigger, () => tasks.trigger("sdk.echo", "again")));
const often = await auth.createTriggerPublicToken("sdk.echo", { multipleUse: true });
out.triggersOften = (await as(often, async () => [await tasks.trigger("sdk.echo", 1), await tasks.trigger("sdk.echo", 2)])).length;
out.triggersNoOther = await refused(() => as(often, () => tasks.trigger("sdk.fail", 1)));
const large = await as(often, () => tasks.trigger("sdk.echo", "z".repeat(200_000)));
out.triggersLarge = (await runs.poll(large.id, poll)).output.length;
const batches = await auth.createBatchTriggerPublicToken("sdk.echo");
const tokenBatch = await as(batches, () => tasks.batchTrigger("sdk.echo", [{ payload: 1 }, { payload: 2 }]));
out.batchByToken = (await finished(tokenBatch.batchId)).runs.length;
out.batchOnce = await refused(() => as(batches, () => tasks.batchTrigger("sdk.echo", [{ payload: 1 }])));
out.batchNoOther = await refused(async () => as(await auth.createBatchTriggerPublicToken("sdk.echo"), () => tasks.batchTrigger("sdk.fail", [{ payload: 1 }])));

answer(out);
