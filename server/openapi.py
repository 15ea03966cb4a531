"""The routes in OpenAPI's words, with the limits that Speech itself checks."""

from dataclasses import MISSING, Field
from typing import Any

from server.jobs.store import PRIORITY_DUE_SECONDS, STATES
from server.version import VERSION
from speech.request import FIELDS, kind
from speech.voice_files import MAX_TRANSCRIPT_BYTES, NAME

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
VOICE = {
    "type": "object",
    "required": ["name", "language", "seconds"],
    "properties": {"name": TEXT, "language": TEXT, "seconds": NUMBER, "used": {"type": "object"}},
}
UNUSABLE = {"type": "object", "required": ["name", "problem"], "properties": {"name": TEXT, "problem": TEXT}}
VOICES = {
    "type": "object",
    "required": ["voices", "unusable"],
    "properties": {"voices": {"type": "array", "items": VOICE}, "unusable": {"type": "array", "items": UNUSABLE}},
}
SPAN = {"start": NUMBER | {"minimum": 0}, "end": NUMBER | {"minimum": 0}}
WORD = {"type": "object", "required": ["word", *SPAN], "properties": {"word": TEXT} | SPAN}
WORDS = {"type": "array", "items": WORD}
CHUNK = {
    "type": "object",
    "required": ["text", "words", *SPAN],
    "properties": {"text": TEXT | {"description": "as it is said"}, "words": WORDS} | SPAN,
}
PLAN = {
    "type": "object",
    "required": ["seconds", "samples", "language", "exact", "phonemes", "unspoken", "chunks", "words"],
    "additionalProperties": False,
    "properties": {
        "seconds": NUMBER,
        "samples": {"type": "integer", "minimum": 1},
        "language": TEXT,
        "exact": {"type": "boolean", "description": "false: words share the time of their chunk by their bytes"},
        "phonemes": {"type": ["string", "null"]},
        "unspoken": {"type": "array", "items": TEXT},
        "chunks": {"type": "array", "items": CHUNK, "minItems": 1},
        "words": WORDS,
    },
}


def description(most_characters: int, wants_key: bool) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    speech = {name: _schema(one) for name, one in FIELDS.items()}
    speech["text"] |= {"minLength": 1, "maxLength": most_characters, "pattern": r"\S"}
    later = {
        "async": {"type": "boolean", "default": False},
        "priority": {"enum": list(PRIORITY_DUE_SECONDS), "description": "with async only"},
    }
    wav = {"description": "the speech", "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    body = {"type": "object", "required": ["text"], "additionalProperties": False, "properties": speech | later}
    # A query string has no null: what is absent is absent.
    query = [
        {"name": name, "in": "query", "required": name == "text", "schema": rule | {"type": _plain(rule["type"])}}
        for name, rule in speech.items()
    ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "direct-tts", "version": VERSION, "description": "F5-TTS, served directly."},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}] if wants_key else [],
        "paths": {
            "/tts": {
                "post": {
                    "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                    "responses": {"200": wav, "202": _json("a job for later", JOB)}
                    | _errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
                },
                "get": {"parameters": query, "responses": {"200": wav} | _errors(400, 401, 403, 404, 413, 500, 503)},
            },
            "/tts/plan": {
                "post": {
                    "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                    "responses": {"200": _json("what would be spoken, and when each word of it", PLAN)}
                    | _errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
                }
            },
            **_job_paths(wav),
            **_voice_paths(),
            **{
                path: {"get": {"security": [], "responses": {"200": _json(path, {"type": "object"})}}}
                for path in ("/health", "/ready")
            },
            "/metrics": {
                "get": {
                    "security": [],
                    "responses": {
                        "200": {"description": "Prometheus text", "content": {"text/plain": {"schema": TEXT}}}
                    },
                }
            },
        },
    }


def _voice_paths() -> dict[str, Any]:
    listed = {"get": {"responses": {"200": _json("the voices", VOICES)} | _errors(401, 403)}}
    new = {
        "type": "object",
        "required": ["name", "text", "audio"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
            "text": TEXT | {"description": "what is said in the sound, all of it", "maxLength": MAX_TRANSCRIPT_BYTES},
            "audio": {"type": "string", "format": "binary", "description": "WAV, FLAC, Ogg, MP3 or AIFF"},
        },
    }
    name = {"name": "name", "in": "path", "required": True, "schema": TEXT}
    kept = _json("kept, and a voice from now on", VOICE | {"required": ["name", "language", "seconds", "used"]})
    removed = _json("deleted", {"type": "object", "required": ["name", "status"]})
    return {
        "/voices": listed
        | {
            "post": {
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": new}}},
                "responses": {"201": kept} | _errors(400, 401, 403, 408, 409, 413, 500, 503),
            }
        },
        "/v1/voices": listed,
        "/voices/{name}": {
            "delete": {"parameters": [name], "responses": {"200": removed} | _errors(401, 403, 404, 409, 503)}
        },
    }


def _job_paths(wav: dict[str, Any]) -> dict[str, Any]:
    job_id = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    return {
        "/tts/status/{id}": {
            "get": {
                "parameters": [job_id],
                "responses": {"200": _json("the job", JOB)} | _errors(401, 403, 404, 503),
            }
        },
        "/tts/result/{id}": {
            "get": {
                "parameters": [job_id],
                "responses": {"200": wav, "206": wav} | _errors(400, 401, 403, 404, 409, 416, 503),
            },
        },
        "/tts/{id}": {
            "delete": {
                "parameters": [job_id],
                "responses": {"200": _json("cancelled or removed", JOB)} | _errors(401, 403, 404, 503),
            }
        },
    }


TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
BOUNDS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "above": "exclusiveMinimum",
    "max_length": "maxLength",
    "pattern": "pattern",
}


def _schema(one: Field[Any]) -> dict[str, Any]:
    """A field's rule in JSON Schema's words."""
    required, default = one.default is MISSING, {} if one.default in (MISSING, None) else {"default": one.default}
    wanted = TYPES[kind(one)]
    bounds = {word: one.metadata[name] for name, word in BOUNDS.items() if one.metadata[name] is not None}
    nullable = not required and one.default is None
    return {"type": [wanted, "null"] if nullable else wanted, "description": one.metadata["meaning"]} | bounds | default


def _plain(wanted: str | list[str]) -> str:
    return wanted if isinstance(wanted, str) else wanted[0]


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*codes: int) -> dict[str, Any]:
    return {str(code): _json("refused, in words", ERROR) for code in codes}
