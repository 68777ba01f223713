// The samples of the migration plan's phase 4: execute, cancel, answer. `handle.result()`, which the
// first of them calls, is in no version of the SDK; `runs.poll` gives what it was meant to.
import { runs, tasks, wait } from "@trigger.dev/sdk/v3";
import { answer, given, until } from "./client.mjs";

async function executeWorkflowHandler(request, reply) {
  const { workflowDefinition, inputs } = request.body;
  const executionId = `exec-${Date.now()}-abcdef`;
  const handle = await tasks.trigger("orchestrator", {
    executionId,
    workflowDefinition,
    inputs,
    userId: request.user.id,
  });
  const result = await runs.poll(handle, { pollIntervalMs: 50 });
  reply.send({ executionId, result });
}

async function cancelExecutionHandler(request, reply) {
  const { id } = request.params;
  await runs.cancel(id);
  reply.send({ success: true });
}

async function submitInputHandler(request, reply) {
  const { userResponse, tokenId } = request.body;
  await wait.completeToken(tokenId, { message: userResponse });
  reply.send({ success: true });
}

const sent = async (handler, request) => {
  let found;
  await handler(request, { send: (value) => (found = value) });
  return found;
};

const out = {};
const executed = await sent(executeWorkflowHandler, {
  body: { workflowDefinition: given("DEFINITION"), inputs: { a: 2, b: 3 } },
  user: { id: "user-7" },
});
out.executed = { status: executed.result.status, output: executed.result.output, id: executed.executionId, metadata: executed.result.metadata.executionId };

const sleeper = await tasks.trigger("sdk.sleep", { seconds: 3600 });
await until(async () => (await runs.retrieve(sleeper.id)).isWaiting);
out.cancel = await sent(cancelExecutionHandler, { params: { id: sleeper.id } });
out.cancelled = (await runs.poll(sleeper.id, { pollIntervalMs: 50 })).status;

const asking = await tasks.trigger("sdk.ask", {});
const token = await until(async () => (await runs.retrieve(asking.id)).metadata?.token);
out.submit = await sent(submitInputHandler, { body: { userResponse: "yes", tokenId: token } });
out.answered = (await runs.poll(asking.id, { pollIntervalMs: 50 })).output;

answer(out);
