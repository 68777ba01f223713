// Makes the schedule of a trigger as the migration plan's phase 6 does: the handler as written there.
import { schedules } from "@trigger.dev/sdk/v3";
import { answer, given } from "./client.mjs";

const { triggerId, body } = given("TRIGGER");
const kept = {};
const TriggerRepository = {
  update: async (id, changes) => {
    kept[id] = changes;
  },
};

export async function createTriggerHandler(request, reply) {
    const { workflowId, cronExpression, timezone } = request.body;

    // Create imperative schedule
    const schedule = await schedules.create({
        task: "triggered-workflow",
        cron: cronExpression,
        timezone,
        externalId: `trigger-${triggerId}`, // Links back to our trigger record
        deduplicationKey: triggerId
    });

    // Store schedule ID in trigger record
    await TriggerRepository.update(triggerId, {
        scheduleId: schedule.id
    });

    reply.send({ success: true });
}

let sent = null;
await createTriggerHandler({ body }, { send: (value) => (sent = value) });
answer({ sent, kept });
