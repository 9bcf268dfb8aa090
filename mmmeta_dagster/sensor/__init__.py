"""The sensor that keeps a metadir imported.

``observe`` gathers a ``situation``, plain values; ``decision`` judges it, a pure function, with ``due``, ``pulls`` and ``pauses``;
``build`` makes the sensor and speaks to Dagster.
"""
