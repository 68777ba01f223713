"""Where the HTML pages hang."""

from __future__ import annotations

from django.urls import path

from executions import views

urlpatterns = [
    path("", views.home, name="home"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("examples/<str:slug>/start", views.start_example, name="start-example"),
    path("runs/<str:run_id>/", views.run_page, name="run"),
    path("runs/<str:run_id>/answer", views.answer_review, name="answer-review"),
    path("runs/<str:run_id>/cancel", views.cancel_run, name="cancel-run"),
]
