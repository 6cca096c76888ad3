"""The model that returns complete speech: one response per request, as soon as its own speech is complete."""

from __future__ import annotations

from .answers import Answer, TextModel
from .contract import Response
from .python_backend import error_response, finish, speech_response


class WholeAnswer(Answer):
    def send_news(self) -> None:
        progress = self.handle.poll()
        if not progress.done:
            return
        self.is_ended = True
        if progress.error is not None:
            finish(self.sender, error_response(progress.error))
            return
        audio = self.handle.result()
        response = Response(audio.samples, audio.sampling_rate, audio.stop_reason, self.warning)
        finish(self.sender, speech_response(response.tensors(self.request.encoding)))


class WholeModel(TextModel):
    stream = None
    answer_type = WholeAnswer
