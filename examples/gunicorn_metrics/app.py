"""Metrics of locks under gunicorn, whose worker processes each have figures of their own.

GET /work       takes the lock, and counts that twice: in a Counter of the worker, as everything is counted, and by
                interlock, in shared memory
GET /metrics    for Prometheus: the worker's Counter is what this worker has counted, interlock's figures are of all
GET /total      says how often the lock has been taken
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import prometheus_client

import interlock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

prometheus_client.REGISTRY.register(interlock.metrics.Collector(names="report-*"))
prometheus_client.Gauge("worker_pid", "Who answers.").set_function(os.getpid)
worked = prometheus_client.Counter("worked", "How often this worker has worked.")
metrics = prometheus_client.make_wsgi_app()
lock = interlock.Lock("report-daily")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/metrics":
            return metrics(environ, start_response)
        case "/work":
            with lock:
                worked.inc()
            status, text = "200 OK", "done\n"
        case "/total":
            status, text = "200 OK", f"{lock.statistics().acquisitions}\n"
        case _:
            status, text = "404 Not Found", "there is /work, /metrics and /total\n"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
