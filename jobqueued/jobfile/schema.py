"""The JSON Schema of job files, for editors. It agrees with the parser, because both use the table of keys.

It accepts every file that the parser accepts. Only the parser can refuse errors in cron expressions, unknown zones,
durations out of range, and ids that other files have.
"""

from __future__ import annotations

from jobqueued.jobfile.keys.keys import FILE_KEYS, JOB_KEYS
from jobqueued.jobfile.types.scalars import Schema
from jobqueued.jobfile.types.types import schema_of

_HAS_COMMAND = {"required": ["command"]}


def job_file_schema() -> Schema:
    """Return the whole schema, in draft 7, which editors support best."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "jobqueued job file",
        "type": ["object", "null"],
        **schema_of(FILE_KEYS),
        "if": {"required": ["defaults"], "properties": {"defaults": _HAS_COMMAND}},
        "else": {"properties": {"jobs": {"additionalProperties": _HAS_COMMAND}}},
        "definitions": {"job": {"type": ["object", "null"], **schema_of(JOB_KEYS)}},
    }
