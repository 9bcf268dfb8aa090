"""The assets of a metadir, ``metadata_db``, ``state_db`` and one for each job, and the step that materializes each.

``build`` makes those of the project file, ``decorator`` those of functions; both run a job with ``job_run``.
"""
