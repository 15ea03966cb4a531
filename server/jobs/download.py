"""The audio of a job as a reply: sent from the file that was opened, so that it comes whole whatever is removed."""

import os
from typing import Any, BinaryIO

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from speech.formats import FORMATS


class AudioDownload(FileResponse):
    """A sound file with ranges. It is closed when the reply is over."""

    def __init__(self, file: BinaryIO, format: str):
        self._file = file
        super().__init__("", media_type=FORMATS[format].content_type, stat_result=os.fstat(file.fileno()))

    @property
    def path(self) -> Any:
        """What the parent opens, and closes: a descriptor of the file, where a name may lead nowhere by now."""
        return os.dup(self._file.fileno())

    @path.setter
    def path(self, path: object) -> None:
        """The parent's constructor sets it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)
