"""JSON Schema of the job file, for editors: it says what the parser says, because both come from the table of keys.

It accepts every file that the parser accepts.  What it can't say (the grammar of cron expressions, zones that exist,
ranges of durations, ids of other files) only the parser refuses.
"""

from __future__ import annotations

from jobqueued.jobfile.keys import FILE_KEYS, JOB_KEYS
from jobqueued.jobfile.scalars import Schema
from jobqueued.jobfile.types import schema_of

_HAS_COMMAND = {"required": ["command"]}


def job_file_schema() -> Schema:
    """The whole schema, of draft 7, which editors know best."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "jobqueued job file",
        "type": ["object", "null"],
        **schema_of(FILE_KEYS),
        "if": {"required": ["defaults"], "properties": {"defaults": _HAS_COMMAND}},
        "else": {"properties": {"jobs": {"additionalProperties": _HAS_COMMAND}}},
        "definitions": {"job": {"type": ["object", "null"], **schema_of(JOB_KEYS)}},
    }
