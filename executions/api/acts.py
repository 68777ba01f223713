"""What is done to executions over HTTP: end, hold, repeat and answer them."""

from __future__ import annotations

from typing import Any, Protocol

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from executions import forks, reviews, runs, workflow_forks, workflow_runs
from executions.access import Scope
from executions.api.base import ApiView, read, success
from executions.api.executions import summary
from executions.api.schema import enveloped
from executions.api.serializers import acts as shapes
from executions.api.serializers.common import ReasonBody
from executions.api.serializers.executions import Summary
from executions.audit import Actor
from executions.forks import UNCHANGED
from executions.models import Run, WaitToken
from executions.triggering import Handle
from executions.workflow_forks import Fork as Wanted

Json = Any
HELD = extend_schema(request=ReasonBody, responses={200: enveloped(Summary)})
REPLAYED = enveloped(shapes.Replayed)
ANSWERED = enveloped(shapes.Answered)


class Change(Protocol):
    """One of the services that change a run."""

    def __call__(self, run_id: str, *, reason: str | None, actor: Actor | None) -> Run: ...


class Act(ApiView):
    """Something that is done to one execution, for a reason."""

    tag = "Executions"
    scopes = {"POST": Scope.CANCEL}

    def do(
        self, request: Request, run_id: str, change: Change, else_because: str | None = None
    ) -> Response:
        """Changes the run; the execution as it stands then."""
        reason = read(ReasonBody, request.data)["reason"]
        run = workflow_runs.glance_for(self.caller, run_id)
        if reason is None and else_because is not None:
            reason = f"{else_because} by {self.caller.name}."
        change(run.id, reason=reason, actor=self.caller.actor)
        return success(summary(self.caller, run.id))


class Cancel(Act):
    """/api/executions/{id}/cancel"""

    @HELD
    def post(self, request: Request, run_id: str) -> Response:
        """Asks for an execution to be cancelled; its code may still clean up."""
        return self.do(request, run_id, runs.cancel, "Cancelled")


class Terminate(Act):
    """/api/executions/{id}/terminate"""

    @HELD
    def post(self, request: Request, run_id: str) -> Response:
        """Ends an execution at once, without clean-up."""
        return self.do(request, run_id, runs.terminate, "Terminated")


class Pause(Act):
    """/api/executions/{id}/pause"""

    @HELD
    def post(self, request: Request, run_id: str) -> Response:
        """Holds an execution: no new step begins, those under way end and are stored."""
        return self.do(request, run_id, runs.pause)


class Resume(Act):
    """/api/executions/{id}/resume"""

    @HELD
    def post(self, request: Request, run_id: str) -> Response:
        """Lets a paused execution go on."""
        return self.do(request, run_id, runs.resume)


class Release(Act):
    """/api/executions/{id}/release"""

    @HELD
    def post(self, request: Request, run_id: str) -> Response:
        """Queues an execution that needed attention again."""
        return self.do(request, run_id, runs.release)


class Replay(ApiView):
    """/api/executions/{id}/replay"""

    tag = "Executions"
    scopes = {"POST": Scope.REPLAY}

    @extend_schema(request=shapes.ReplayBody, responses={202: REPLAYED})
    def post(self, request: Request, run_id: str) -> Response:
        """Starts the same task anew, with the same payload or another."""
        given = read(shapes.ReplayBody, request.data)
        run = workflow_runs.glance_for(self.caller, run_id)
        handle = forks.replay(
            run.id, payload=given.get("payload", UNCHANGED), reason=given["reason"],
            actor=self.caller.actor,
        )  # fmt: skip
        return _replayed(handle, run)


class Fork(ApiView):
    """/api/executions/{id}/fork"""

    tag = "Executions"
    scopes = {"POST": Scope.REPLAY}

    @extend_schema(
        request=shapes.ForkBody, responses={200: enveloped(shapes.PlanShape), 202: REPLAYED}
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Starts a new execution that takes over what lies before a step.

        With `dryRun`: 200 with what would become of each step.
        """
        given = read(shapes.ForkBody, request.data)
        run = workflow_runs.retrieve_for(self.caller, run_id)
        wanted = Wanted(
            from_step=given["fromStep"], from_node=given["fromNode"], outputs=given["outputs"],
            payload=given.get("payload", UNCHANGED),
        )  # fmt: skip
        if given["dryRun"]:
            return success(shapes.PlanShape(workflow_forks.preview(run, wanted)).data)
        handle = workflow_forks.fork(run, wanted, reason=given["reason"], actor=self.caller.actor)
        return _replayed(handle, run)


class SubmitResponse(ApiView):
    """/api/executions/{id}/submit-response"""

    tag = "Executions"
    scopes = {"POST": Scope.COMPLETE}

    @extend_schema(request=shapes.ResponseBody, responses={200: ANSWERED})
    def post(self, request: Request, run_id: str) -> Response:
        """Answers an execution's open question, or the one that tokenId names."""
        given = read(shapes.ResponseBody, request.data)
        run = workflow_runs.glance_for(self.caller, run_id)
        token = reviews.answer(
            run.id, given["response"], token_id=given["tokenId"], reason=given["reason"],
            actor=self.caller.actor,
        )  # fmt: skip
        return _answered(run, token)


class SubmitInput(ApiView):
    """/api/executions/{id}/submit-input"""

    tag = "Executions"
    scopes = {"POST": Scope.COMPLETE}

    @extend_schema(request=shapes.InputBody, responses={200: ANSWERED})
    def post(self, request: Request, run_id: str) -> Response:
        """Gives what a person said to the wait of this token.

        A review takes it as its answer; any other wait, as that of a `user-input` task, gets
        `{"message": userResponse}`.
        """
        given = read(shapes.InputBody, request.data)
        run = workflow_runs.glance_for(self.caller, run_id)
        token = reviews.submit_input(
            run.id, given["userResponse"], token_id=given["tokenId"], reason=given["reason"],
            actor=self.caller.actor,
        )  # fmt: skip
        return _answered(run, token)


def _replayed(handle: Handle, run: Run) -> Response:
    data = {"executionId": handle.id, "forkedFrom": run.id, "status": handle.retrieve().status}
    return success(data, http_status=status.HTTP_202_ACCEPTED)


def _answered(run: Run, token: WaitToken) -> Response:
    return success({"executionId": run.id, "tokenId": token.id, "status": token.status})
