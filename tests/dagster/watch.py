"""Evaluates the sensor of an archive, tick after tick."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
from small_archive import Archive

from mmmeta.clock import utcnow
from mmmeta_dagster import build_import_job, build_remote_sensor


class Watch:
    """Evaluates the sensor of an archive, tick after tick, and runs what it asks for."""

    def __init__(self, archive: Archive, instance: dg.DagsterInstance) -> None:
        self.archive = archive
        self.instance = instance
        self.cursor: str | None = None
        self.ahead = timedelta()

    def tick(self) -> dg.SensorResult:
        """One evaluation; the cursor is kept, as the daemon does."""
        config = self.archive.watched
        job = build_import_job(metadir=config)
        sensor = build_remote_sensor(metadir=config, job=job, clock=lambda: utcnow() + self.ahead)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result

    def asks(self) -> dg.RunRequest:
        """A tick that has to ask."""
        result = self.tick()
        assert result.run_requests, result.skip_reason
        (request,) = result.run_requests
        return request

    def skips(self) -> str:
        """A tick that has to skip; its reason."""
        result = self.tick()
        assert not result.run_requests
        assert result.skip_reason is not None
        return str(result.skip_reason.skip_message)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run ``archive_import`` as a request asks for it."""
        job = self.archive.definitions.resolve_job_def("archive_import")
        return job.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags={**request.tags, "dagster/run_key": request.run_key},
            asset_selection=request.asset_selection,
        )
