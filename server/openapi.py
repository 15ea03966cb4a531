"""The routes in OpenAPI's words, with the limits that Speech itself checks."""

from server.jobs.store import PRIORITY_DUE_SECONDS, STATES
from speech.request import DEFAULT_VOICE, MOST_STEPS, SPEEDS

NUMBER = {"type": "number"}
TEXT = {"type": "string"}
ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
JOB = {
    "type": "object",
    "required": ["request_id", "status"],
    "properties": {
        "request_id": TEXT,
        "status": {"enum": [*STATES, "removed"]},
        "priority": {"enum": list(PRIORITY_DUE_SECONDS)},
        "created": NUMBER,
        "seed": {"type": "integer"},
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "queue_position": {"type": "integer", "minimum": 1},
        "error": TEXT,
        "blocked_reason": {"type": "string", "description": "what it waits for, other than its turn"},
        "result": {"type": "object", "required": ["output_path", "url", "sample_rate", "duration", "processing_time"]},
    },
}


def description(most_characters: int) -> dict:
    """An OpenAPI 3.1 document."""
    speech: dict[str, dict] = {
        "text": {"type": "string", "minLength": 1, "maxLength": most_characters, "pattern": r"\S"},
        "voice": {"type": "string", "default": DEFAULT_VOICE},
        "speed": {"type": "number", "minimum": SPEEDS[0], "maximum": SPEEDS[1], "default": 1},
        "duration": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "maximum": 86_400,
            "description": "seconds the speech is to last, exactly",
        },
        "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1},
        "steps": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_STEPS},
        "cfg_strength": {"type": ["number", "null"], "minimum": 0, "maximum": 10},
    }
    later = {
        "async": {"type": "boolean", "default": False},
        "priority": {"enum": list(PRIORITY_DUE_SECONDS), "description": "with async only"},
    }
    wav = {"description": "the speech", "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    job_id = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    body = {"type": "object", "required": ["text"], "additionalProperties": False, "properties": speech | later}
    # A query string has no null: what is absent is absent.
    query = [
        {"name": name, "in": "query", "required": name == "text", "schema": rule | {"type": _plain(rule["type"])}}
        for name, rule in speech.items()
    ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "direct-tts", "version": "1", "description": "F5-TTS, served directly."},
        "paths": {
            "/tts": {
                "post": {
                    "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                    "responses": {"200": wav, "202": _json("a job for later", JOB)} | _errors(400, 404, 413, 500, 503),
                },
                "get": {"parameters": query, "responses": {"200": wav} | _errors(400, 404, 413, 500, 503)},
            },
            "/tts/status/{id}": {
                "get": {"parameters": [job_id], "responses": {"200": _json("the job", JOB)} | _errors(404)}
            },
            "/tts/result/{id}": {
                "get": {"parameters": [job_id], "responses": {"200": wav, "206": wav} | _errors(404, 409)},
            },
            "/tts/{id}": {
                "delete": {
                    "parameters": [job_id],
                    "responses": {"200": _json("cancelled or removed", JOB)} | _errors(404),
                }
            },
            **{
                path: {"get": {"responses": {"200": _json(path, {"type": "object"})}}}
                for path in ("/voices", "/v1/voices", "/health", "/ready")
            },
            "/metrics": {
                "get": {
                    "responses": {
                        "200": {"description": "Prometheus text", "content": {"text/plain": {"schema": TEXT}}}
                    }
                }
            },
        },
    }


def _plain(kind: str | list[str]) -> str:
    return kind if isinstance(kind, str) else kind[0]


def _json(description: str, schema: dict) -> dict:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*codes: int) -> dict:
    return {str(code): _json("refused, in words", ERROR) for code in codes}
