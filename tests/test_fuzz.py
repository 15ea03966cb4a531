"""Whatever is sent: no 500, no hang, and every refusal in the agreed shape."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import torch
from conftest import FIGURES, ROOT, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from speech.formats import FORMATS

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FIELDS = ["text", "voice", "speed", "duration", "seed", "steps", "cfg_strength", "async", "priority", "format", ""]
numbers = st.integers(-(2**70), 2**70) | st.integers(-10, 100) | st.floats(allow_subnormal=False)
texts = st.text(max_size=30) | st.sampled_from(["default", "Hello.", "low", "NaN", "../x", "\ud800"])
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)
likely = st.fixed_dictionaries(
    {"text": texts, "steps": st.just(1)},
    optional={
        "speed": numbers,
        "seed": numbers,
        "duration": numbers,
        "async": st.booleans(),
        "format": st.sampled_from([*FORMATS, "tape"]),
    },
)
bodies = st.binary(max_size=200) | (objects | likely | values).map(lambda value: json.dumps(value).encode())


@pytest.fixture(autouse=True)
def subnormals() -> Iterator[None]:
    """Other tests load the model into this process, which flushes them to zero; hypothesis insists on them."""
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(True)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, with voices of its own: fuzzing leaves jobs, and might keep or delete a voice."""
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(ROOT / "voices", folder / "voices")
    with serving(folder / "log", TTS_VOICES=str(folder / "voices")) as address:
        yield address


def fuzz(address: str, examples: int) -> None:
    with httpx.Client(base_url=address, timeout=20) as client:

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(bodies)
        def any_body(body: bytes) -> None:
            reply = client.post("/tts", content=body)
            assert reply.status_code in (200, 202, 400, 404, 413), (body, reply.status_code, reply.text[:300])
            if reply.status_code >= 400:
                error = reply.json()
                assert set(error) == {"error"} and set(error["error"]) == {"message", "type", "param", "code"}, (
                    body,
                    error,
                )
                assert error["error"]["message"]
            elif reply.status_code == 200:
                assert len(reply.content) == int(reply.headers.get("content-length", len(reply.content)))

        any_body()
        assert client.get("/health").status_code == 200


def test_no_body_is_too_strange(address: str) -> None:
    fuzz(address, 250)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_body_of_five_thousand_is_too_strange(address: str) -> None:
    fuzz(address, 5000)
    FIGURES["random bodies without a 500"] = 5000


def follow_the_description(address: str, examples: int) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")

    for operation in schema.get_all_operations():
        described = operation.ok()  # type: ignore[union-attr]

        @given(case=described.as_strategy())
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        def any_case(case: Any) -> None:
            for given_ in (case.body, case.query):
                if isinstance(given_, dict) and given_:
                    given_["steps"] = 1  # the model is not what is tested
            case.call_and_validate(checks=CHECKS, timeout=20)

        any_case()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_description_is_true(address: str) -> None:
    follow_the_description(address, 12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_description_is_true_at_length(address: str) -> None:
    follow_the_description(address, 400)


def test_the_description_names_every_route(address: str) -> None:
    described = set(httpx.get(f"{address}/openapi.json").json()["paths"])
    from app import app

    routes = {route.path for route in app.routes}  # type: ignore[attr-defined]
    page = {"/", "/docs", "/web/{name}"}
    assert routes - described == {"/openapi.json"} | page and described <= routes
