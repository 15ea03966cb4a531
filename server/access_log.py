"""The log without what people wanted said. Knows uvicorn's loggers."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def without_texts() -> Iterator[None]:
    """While the body runs, no query string is logged, and no access line for a speech, which has a line of ours."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.access", "uvicorn.error")]
    for logger in loggers:
        logger.addFilter(_without_query)
    loggers[0].addFilter(_is_no_speech)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_without_query)
        loggers[0].removeFilter(_is_no_speech)


def _without_query(record: logging.LogRecord) -> bool:
    """Targets stand in the arguments: of access lines, and of a WebSocket's, which are among the errors."""
    if isinstance(record.args, tuple):
        record.args = tuple(one.split("?", 1)[0] if isinstance(one, str) else one for one in record.args)
    return True


def _is_no_speech(record: logging.LogRecord) -> bool:
    _client, _method, path, _version, status = record.args  # type: ignore[misc]
    return not (str(path).endswith(("/tts", "/tts/plan")) and status == 200)
