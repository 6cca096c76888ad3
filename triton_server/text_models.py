"""The two text models: `tacoglow` answers with complete speech, `tacoglow_stream` with segments of it."""

from __future__ import annotations

import numpy as np

from ..runtime.errors import Cancelled, RequestError
from ..runtime.options import StreamOptions
from .answers import Answer, TextModel
from .contract import Response, SpeechRequest
from .python_backend import error_response, finish, speech_response


class WholeAnswer(Answer):
    """One response, once the speech is complete."""

    def send_news(self) -> None:
        progress = self.handle.poll()
        if not progress.done:
            return
        self.is_ended = True
        if progress.error is not None:
            finish(self.sender, error_response(progress.error))
            return
        audio = self.handle.result()
        response = Response(audio.samples, audio.sampling_rate, audio.stop_reason, self.warning(audio.quality))
        finish(self.sender, speech_response(response.tensors(self.request.encoding)))


class StreamAnswer(Answer):
    """A response per segment, as soon as it is synthesized, and a last one without samples."""

    def send_news(self) -> None:
        progress = self.handle.poll()
        encoding, rate = self.request.encoding, self.handle.sampling_rate
        for samples in progress.segments:
            self.sender.send(speech_response(Response(samples, rate, "").tensors(encoding)))
        if not progress.done:
            return
        self.is_ended = True
        if isinstance(progress.error, Cancelled):
            finish(self.sender)
        elif progress.error is not None:
            finish(self.sender, error_response(progress.error))
        else:
            audio = self.handle.result()
            last = Response(np.zeros(0, np.float32), rate, audio.stop_reason, self.warning(audio.quality))
            finish(self.sender, speech_response(last.tensors(encoding)))


class WholeModel(TextModel):
    """Triton's model interface: the model that returns complete speech."""

    stream = None
    answer_type = WholeAnswer


class StreamingModel(TextModel):
    """Triton's model interface: the decoupled model that streams."""

    stream = StreamOptions()
    answer_type = StreamAnswer

    def check(self, request: SpeechRequest) -> None:
        if request.encoding == "wav":
            raise RequestError("encoding: a stream supports int16 and float32, got wav")
