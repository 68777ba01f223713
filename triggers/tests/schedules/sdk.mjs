// Does all that Trigger.dev's SDK can do with schedules.
import { schedules, runs } from "@trigger.dev/sdk";
import { all, answer, given, refused, until } from "./client.mjs";

const { task, foreign, declared } = given("SCHEDULE");
const out = {};
const told = (schedule) => ({
  ...schedule,
  nextRun: schedule.nextRun?.toISOString() ?? null,
  nextRunEffectiveAt: schedule.nextRunEffectiveAt?.toISOString() ?? null,
});

// ---- make, and make again
const options = {
  task,
  cron: "0 9 * * 1-5",
  timezone: "America/New_York",
  externalId: "user_7",
  deduplicationKey: "user_7-report",
  window: "30m",
};
const made = await schedules.create(options);
out.created = told(made);
const again = await schedules.create({ ...options, cron: "30 8 * * *" });
out.again = { same: again.id === made.id, expression: again.generator.expression };

// ---- look
out.retrieved = (await schedules.retrieve(made.id)).id === made.id;
for (let n = 0; n < 5; n++) await schedules.create({ task, cron: `${n} * * * *`, deduplicationKey: `many-${n}` });
const page = await schedules.list({ page: 2, perPage: 4 });
out.page = { count: page.data.length, pagination: page.pagination };
out.listed = (await all(schedules.list({ perPage: 2 }))).map((schedule) => schedule.deduplicationKey);

// ---- change
const updated = await schedules.update(made.id, { task, cron: "0 0 L * *" });
out.updated = { expression: updated.generator.expression, timezone: updated.timezone, externalId: updated.externalId ?? null, window: updated.window ?? null, description: updated.generator.description };
const off = await schedules.deactivate(made.id);
out.off = { active: off.active, nextRun: off.nextRun ?? null };
const on = await schedules.activate(made.id);
out.on = { active: on.active, nextRun: on.nextRun instanceof Date };

// ---- zones
const { timezones } = await schedules.timezones();
out.timezones = { first: timezones[0], many: timezones.length > 300, paris: timezones.includes("Europe/Paris") };
out.withoutUtc = (await schedules.timezones({ excludeUtc: true })).timezones.includes("UTC");

// ---- it fires, and its runs are found
// The test sees to it that this one is due in a moment.
const frequent = await schedules.create({ task, cron: "0 0 1 1 *", deduplicationKey: "frequent", externalId: "x" });
const fired = await until(async () => (await all(runs.list({ schedule: frequent.id, limit: 10 })))[0]);
const run = await runs.poll(fired.id, { pollIntervalMs: 50 });
out.fired = { payload: run.payload, late: run.startedAt.getTime() - Date.parse(run.payload.timestamp), status: run.status };

// ---- remove
out.deleted = (await schedules.del(frequent.id)).id === frequent.id;
out.gone = await refused(() => schedules.retrieve(frequent.id));

// ---- refusals
out.refused = {
  foreign: await refused(() => schedules.retrieve(foreign)),
  foreignDelete: await refused(() => schedules.del(foreign)),
  declared: await refused(() => schedules.update(declared, { task, cron: "* * * * *" })),
  cron: await refused(() => schedules.create({ task, cron: "0 0 30 2 *", deduplicationKey: "k" })),
  seconds: await refused(() => schedules.create({ task, cron: "0 * * * * *", deduplicationKey: "k" })),
  zone: await refused(() => schedules.create({ task, cron: "* * * * *", timezone: "Mars/Phobos", deduplicationKey: "k" })),
  task: await refused(() => schedules.create({ task: "nobody", cron: "* * * * *", deduplicationKey: "k" })),
  window: await refused(() => schedules.create({ task, cron: "* * * * *", window: "25h", deduplicationKey: "k" })),
};
answer(out);
