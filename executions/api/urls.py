"""Where FlowMaestro's own API hangs, under /api/."""

from __future__ import annotations

from django.urls import path

from executions.api import (
    acts,
    catalogue,
    connections,
    executions,
    templates,
    workflows,
    workspaces,
)

urlpatterns = [
    path("workflows", workflows.Workflows.as_view(), name="api-workflows"),
    path("workflows/execute", workflows.Execute.as_view(), name="api-execute"),
    path("workflows/validate", workflows.Validate.as_view(), name="api-validate"),
    path("workflows/<str:workflow_id>", workflows.Workflow.as_view(), name="api-workflow"),
    path("workflows/<str:workflow_id>/execute", workflows.ExecuteStored.as_view()),
    path("workflows/<str:workflow_id>/validate", workflows.ValidateStored.as_view()),
    path("workflows/<str:workflow_id>/versions", workflows.Versions.as_view()),
    path("workflows/<str:workflow_id>/versions/<str:version>", workflows.Version.as_view()),
    path("workflows/<str:workflow_id>/versions/<str:version>/revert", workflows.Revert.as_view()),
    path("executions", executions.Executions.as_view(), name="api-executions"),
    path("executions/compare", executions.Compare.as_view(), name="api-compare"),
    path("executions/<str:run_id>", executions.Execution.as_view(), name="api-execution"),
    path("executions/<str:run_id>/nodes", executions.Nodes.as_view()),
    path("executions/<str:run_id>/steps", executions.Steps.as_view()),
    path("executions/<str:run_id>/events", executions.Events.as_view(), name="api-events"),
    path("executions/<str:run_id>/logs", executions.Logs.as_view()),
    path("executions/<str:run_id>/cancel", acts.Cancel.as_view(), name="api-cancel"),
    path("executions/<str:run_id>/terminate", acts.Terminate.as_view()),
    path("executions/<str:run_id>/pause", acts.Pause.as_view()),
    path("executions/<str:run_id>/resume", acts.Resume.as_view()),
    path("executions/<str:run_id>/release", acts.Release.as_view()),
    path("executions/<str:run_id>/replay", acts.Replay.as_view()),
    path("executions/<str:run_id>/fork", acts.Fork.as_view()),
    path(
        "executions/<str:run_id>/submit-response",
        acts.SubmitResponse.as_view(),
        name="api-submit-response",
    ),
    path("executions/<str:run_id>/submit-input", acts.SubmitInput.as_view()),
    path("templates", templates.Templates.as_view(), name="api-templates"),
    path("templates/categories", templates.Categories.as_view()),
    path("templates/<str:slug>", templates.Template.as_view(), name="api-template"),
    path("templates/<str:slug>/copy", templates.Copy.as_view()),
    path("connections", connections.Connections.as_view(), name="api-connections"),
    path("connections/<str:connection_id>", connections.Connection.as_view()),
    path("connections/<str:connection_id>/revoke", connections.Revoke.as_view()),
    path("node-types", catalogue.NodeTypes.as_view(), name="api-node-types"),
    path("node-types/<str:name>", catalogue.NodeType.as_view()),
    path("tasks", catalogue.Tasks.as_view(), name="api-tasks"),
    path("tasks/<str:task_id>", catalogue.TaskView.as_view()),
    path("workspaces", workspaces.Workspaces.as_view(), name="api-workspaces"),
    path("workspaces/<str:workspace_id>/members", workspaces.Members.as_view()),
    path("workspaces/<str:workspace_id>/members/<int:user>", workspaces.Member.as_view()),
]
