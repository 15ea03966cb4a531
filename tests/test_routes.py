"""The other way to ask for speech, and routes that speak nothing."""

import httpx

import tts_core


def test_get_speaks_as_post_does(client: httpx.Client) -> None:
    text = "Hello there, how are you?"
    got = client.get("/tts", params={"text": text, "voice": "michael", "seed": 3, "speed": 1.2})
    posted = client.post("/tts", json={"text": text, "voice": "michael", "seed": 3, "speed": 1.2})
    assert got.content == posted.content
    head = client.head("/tts", params={"text": text, "voice": "michael", "seed": 3, "speed": 1.2})
    assert head.headers["content-length"] == got.headers["content-length"] and not head.content


def test_who_asks_for_lengths_alone_is_no_listener_served(client: httpx.Client) -> None:
    before = client.get("/stats").json()["outcomes"]
    assert client.head("/tts", params={"text": "Hello."}).status_code == 200
    assert client.post("/tts/plan", json={"text": "Hello."}).status_code == 200
    assert client.get("/stats").json()["outcomes"] == before | {"planned": before["planned"] + 2}


def test_routes_that_only_tell(client: httpx.Client, tts: tts_core.TTS) -> None:
    voices = client.get("/voices").json()["voices"]
    assert {"default", "michael", "fenrir", "an"} <= {v["name"] for v in voices}
    assert next(v for v in voices if v["name"] == "an")["language"] == "vi"
    assert client.get("/v1/voices").json() == client.get("/voices").json()
    health = client.get("/health").json()
    assert (health["status"], health["model"]) == ("healthy", "tiny")
    assert (health["device"], health["device_reason"]) == (str(tts.device.place), tts.device.reason)
    assert {"total_requests", "completed_requests", "failed_requests", "queue_size", "processing"} <= set(
        health["stats"]
    )
    assert client.get("/ready").status_code == 200
    assert "curl" in client.get("/").text
