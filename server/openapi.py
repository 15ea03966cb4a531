"""The routes in OpenAPI's words, with the limits that Speech itself checks."""

from dataclasses import MISSING, Field
from typing import Any

from server.jobs.store import PRIORITY_DUE_SECONDS, STATES
from server.openai_api import MAX_INPUT_CHARS
from server.requests import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_PATTERN
from server.version import VERSION
from speech.formats import FORMATS
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
        "voice": TEXT,
        "seed": {"type": "integer"},
        "duration": {"type": "number", "description": "seconds, as planned"},
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
ONCE = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "with async: a request that is sent again with the same key is the same job",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$"},
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
JOBS = {"type": "object", "required": ["jobs"], "properties": {"jobs": {"type": "array", "items": JOB}}}

CUE = {
    "type": "object",
    "required": ["line", "start", "end", "room", "shown", "text", "speaker", "unsaid"],
    "additionalProperties": False,
    "properties": SPAN
    | {"line": {"type": "integer"}, "shown": TEXT, "text": TEXT, "speaker": TEXT}
    | {
        "room": {
            "type": ["number", "null"],
            "description": "seconds to the next one that speaks; null: nothing is said",
        }
    }
    | {"unsaid": {"type": "array", "items": TEXT, "description": "what is not spoken, each with its reason"}},
}
CUES = {
    "type": "object",
    "required": ["encoding", "cues"],
    "properties": {"encoding": TEXT, "cues": {"type": "array", "items": CUE}},
}


def description(most_characters: int, wants_key: bool) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    speech = {name: _schema(one) for name, one in FIELDS.items()}
    speech["text"] |= {"minLength": 1, "maxLength": most_characters, "pattern": r"\S"}
    later = {
        "async": {"type": "boolean", "default": False},
        "priority": {"enum": list(PRIORITY_DUE_SECONDS), "description": "with async only"},
    }
    audio = {format.content_type: {"schema": {"type": "string", "format": "binary"}} for format in FORMATS.values()}
    sound = {"description": "the speech, in the format that was asked for", "content": audio}
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
                    "parameters": [ONCE],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                    "responses": {"200": sound, "202": _json("a job for later", JOB)}
                    | _errors(400, 401, 403, 404, 408, 413, 415, 422, 500, 503),
                },
                "get": {"parameters": query, "responses": {"200": sound} | _errors(400, 401, 403, 404, 413, 500, 503)},
            },
            "/tts/plan": {
                "post": {
                    "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                    "responses": {"200": _json("what would be spoken, and when each word of it", PLAN)}
                    | _errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
                }
            },
            "/tts/stream": _stream_path(),
            **_job_paths(sound),
            "/cues": _cues_path(),
            **_openai_paths(audio),
            "/stats": {"get": {"responses": {"200": _json("/stats", {"type": "object"})} | _errors(401, 403)}},
            **_voice_paths(),
            "/v1/tts": _cloning_path(speech, sound),
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


def _cloning_path(speech: dict[str, Any], sound: dict[str, Any]) -> dict[str, Any]:
    """A form: its fields are texts, and those that are empty are not there."""
    fields = {name: {"type": "string", "description": rule["description"]} for name, rule in speech.items()}
    file = {"type": "string", "format": "binary", "description": "a sound to speak like, instead of a voice"}
    said = TEXT | {"description": "what is said in it", "maxLength": MAX_TRANSCRIPT_BYTES}
    form = {"type": "object", "required": ["text"], "properties": fields | {"audio_file": file, "ref_text": said}}
    kinds = {kind: {"schema": form} for kind in ("multipart/form-data", "application/x-www-form-urlencoded")}
    return {
        "post": {
            "requestBody": {"required": True, "content": kinds},
            "responses": {"200": sound} | _errors(400, 401, 403, 404, 408, 413, 500, 503),
        }
    }


def _job_paths(sound: dict[str, Any]) -> dict[str, Any]:
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
                "responses": {"200": sound, "206": sound} | _errors(400, 401, 403, 404, 409, 416, 503),
            },
        },
        "/tts/jobs": {
            "get": {
                "description": "the next ones in their order, then those that are finished, without their texts",
                "responses": {"200": _json("the jobs", JOBS)} | _errors(401, 403, 503),
            }
        },
        "/tts/{id}": {
            "delete": {
                "parameters": [job_id],
                "responses": {"200": _json("cancelled or removed", JOB)} | _errors(401, 403, 404, 503),
            }
        },
    }


def _stream_path() -> dict[str, Any]:
    said = "A WebSocket: text in while it is written, sound out; see docs/http-api.md."
    return {"get": {"description": said, "responses": _errors(400, 401, 403, 426, 503)}}


def _cues_path() -> dict[str, Any]:
    return {
        "post": {
            "description": "What is said in a subtitle file (SRT, VTT, ASS), when, and how much room it has.",
            "parameters": [{"name": "name", "in": "query", "schema": TEXT}],
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": TEXT}}},
            "responses": {"200": _json("the cues in the order of the file", CUES)}
            | _errors(400, 401, 403, 408, 413, 500),
        }
    }


def _openai_paths(audio: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's routes; what else a body has is passed over."""
    voice = {"anyOf": [TEXT, {"type": "object", "required": ["id"], "properties": {"id": TEXT}}]}
    body = {
        "type": "object",
        "required": ["input"],
        "properties": {
            "model": TEXT,
            "input": {"type": "string", "minLength": 1, "maxLength": MAX_INPUT_CHARS, "pattern": r"\S"},
            "voice": voice,
            "response_format": {"enum": list(FORMATS), "default": "mp3"},
            "speed": _schema(FIELDS["speed"]),
            "stream_format": {"enum": ["audio", "sse"], "default": "audio"},
        },
    }
    event = {"text/event-stream": {"schema": {"type": "object", "required": ["data"], "properties": {"data": TEXT}}}}
    sound = {"description": "the speech, or events that bring it", "content": audio | event}
    model_id = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    told = {"200": _json("as OpenAI's", {"type": "object"})}
    return {
        "/v1/audio/speech": {
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                "responses": {"200": sound} | _errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
            }
        },
        "/v1/models/{id}": {"get": {"parameters": [model_id], "responses": told | _errors(401, 403, 404)}},
        **{
            path: {"get": {"responses": told | _errors(401, 403)}}
            for path in ("/v1/models", "/v1/audio/models", "/v1/audio/voices")
        },
    }


TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
BOUNDS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "above": "exclusiveMinimum",
    "max_length": "maxLength",
    "pattern": "pattern",
    "choices": "enum",
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
