"""Speaks the lines of a list into one file each, or into one joined file; names and skips lines that it cannot."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...text import TextError, describe_dropped
from ..shared.interrupt import at_interrupt
from ..shared.options import print_status
from ..shared.outputs import warn_of_silence
from ..shared.progress import SpeechProgress
from ..shared.reports import audio_report, stream_report
from .lines import Line, Shard, is_read_live, no_phrase, source_name
from .records import Records, speech_key

if TYPE_CHECKING:
    from ...runtime.options import SpeechOptions
    from ...runtime.output.audio import Audio
    from ...runtime.output.growing import SpeechOutput
    from ...runtime.output.timestamps import TimedText
    from ...runtime.stream import SpeechStream
    from ...runtime.synthesizer import Synthesizer
    from ...runtime.vocoder import Samples
    from ..shared.outputs import Outputs

BATCHES_AT_A_TIME = 8  # bounds memory for long lists
MOST_NAMED = 20  # line numbers in the last line


@dataclass
class ListSpeaker:
    """One list, its options, and what has become of its lines so far."""

    synthesizer: Synthesizer
    outputs: Outputs
    source: Path
    lines: Iterable[Line]
    count: int | None  # lines in the list, where it is known
    seed: int
    options: SpeechOptions
    strict: bool
    shard: Shard | None = None  # the part of the list that `lines` is
    has_bar: bool = True  # on a terminal
    reports: dict[int, dict[str, Any]] = field(default_factory=dict)  # number of the line -> its report
    skipped: list[dict[str, Any]] = field(default_factory=list)
    made_before: int = 0  # files that --resume found

    def speak(self, stream: bool, resume: bool) -> int:
        """Speak all lines; prints what became of them. Returns the exit code. Raises RequestError if there is none."""
        if self.outputs.is_folder:
            self._speak_into_folder(resume)
            return self._finish()
        with self.outputs.grow(self.synthesizer.manifest.audio.sampling_rate) as sink:
            self._write_joined(sink, stream)
            if not self.reports:
                sink.discard()
        return self._finish()

    def _speak_into_folder(self, resume: bool) -> None:
        """Write one file per line as each is ready, and record it in the folder."""
        records = Records(self.outputs.path, resume, self.shard)
        with at_interrupt(self._progress_line), self._bar() as bar:
            for group in self._groups(self._unmade(records, bar)):
                for i, audio in self._say(group):
                    line = group[i]
                    path = self.outputs.save(
                        audio, line.name, self.synthesizer.manifest, gate_threshold=self.options.gate_threshold
                    )
                    report = {"line": line.number, "file": str(path), **audio_report(line.text, audio, self.seed)}
                    records.add(line.name, self._key(line), path, report)
                    self.reports[line.number] = {"id": line.name, **report}
                    bar.add(audio.seconds)

    def _write_joined(self, sink: SpeechOutput, stream: bool) -> None:
        """Write all lines into one file, in their order, with pauses between them; stream: segment by segment."""
        from ...runtime.pieces import join_texts

        times = JoinedTimes(sink.sampling_rate, self.options.sentence_silence)
        spoken = self._streams(times) if stream else self._complete_lines(times)
        sink.write_all(join_texts(spoken, sink.sampling_rate, self.options.sentence_silence))
        self.outputs.save_times(times.words, times.characters, sink.sampling_rate)

    def _complete_lines(self, times: JoinedTimes) -> Iterator[tuple[str, list[Samples]]]:
        with self._bar() as bar:
            for group in self._groups(self._good_lines(bar)):
                audios = dict(self._say(group))
                for i, line in enumerate(group):
                    audio = audios[i]
                    self.outputs.save_plot(audio, line.name, self.synthesizer.manifest, self.options.gate_threshold)
                    self._report_joined(line, audio_report(line.text, audio, self.seed))
                    if self.outputs.times is not None:
                        times.add(line.text, len(audio.samples), audio.words, audio.characters)
                    yield line.text, [audio.samples]
                    bar.add(audio.seconds)

    def _streams(self, times: JoinedTimes) -> Iterator[tuple[str, SpeechStream]]:
        wanted = self.outputs.times is not None
        for line in self._good_lines():
            self.reports[line.number] = {"line": line.number, "text": line.text}  # until the stream has ended
            start = time.perf_counter()
            stream = self.synthesizer.stream(
                line.split or line.text, self.seed, options=self.options, timestamps=wanted
            )
            yield line.text, stream
            self._report_joined(line, stream_report(line.text, stream, self.seed, time.perf_counter() - start))
            times.add(line.text, stream.position, stream.words, stream.characters)

    def _report_joined(self, line: Line, report: dict[str, Any]) -> None:
        if not report["audio_seconds"]:
            warn_of_silence(f"{source_name(self.source)}:{line.number}")
        place = {"line": line.number, "id": line.name, "file": str(self.outputs.path)}
        self.reports[line.number] = {**place, **report}

    def _finish(self) -> int:
        if not (self.reports or self.skipped or self.made_before):
            if self.shard is None:
                raise no_phrase(self.source)
            print_status(f"{source_name(self.source)}: no line for shard {self.shard.number} of {self.shard.of}")
        if self.made_before:
            print_status(f"{self.made_before} made before, {len(self.reports)} spoken now")
        if not self.skipped:
            return 0
        numbers = [str(entry["line"]) for entry in self.skipped]
        named = ", ".join(numbers[:MOST_NAMED]) + (" …" if len(numbers) > MOST_NAMED else "")
        noun = "line" if len(numbers) == 1 else "lines"
        print_status(f"{source_name(self.source)}: {len(self.reports)} spoken, {len(numbers)} skipped: {noun} {named}")
        return 1

    def _good_lines(self, bar: SpeechProgress | None = None) -> Iterator[Line]:
        for line in self.lines:
            checked = line if line.problem else self._check(line)
            if checked.problem is None:
                yield checked
                continue
            self._skip(line, checked.problem)
            if bar is not None:
                bar.add(0.0)

    def _check(self, line: Line) -> Line:
        """Split the line, or state why it cannot be spoken. Prints the characters that will be dropped."""
        try:
            split = self.synthesizer.split(line.text, self.options)
        except TextError as error:
            return replace(line, problem=str(error))
        for remark in filter(None, (describe_dropped(split.dropped), *split.remarks)):
            print_status(f"warning: {source_name(self.source)}:{line.number}: {remark}")
        return replace(line, split=split)

    def _skip(self, line: Line, problem: str) -> None:
        from ...runtime.errors import RequestError

        where = f"{source_name(self.source)}:{line.number}"
        if self.strict:
            raise RequestError(f"{where}: {problem}")
        print_status(f"{where}: skipped: {problem}")
        self.skipped.append({"line": line.number, "reason": problem})

    def _unmade(self, records: Records, bar: SpeechProgress) -> Iterator[Line]:
        """Yield the good lines whose files do not exist yet; the others are counted."""
        for line in self._good_lines(bar):
            path = self.outputs.audio_path(line.name)
            if self.outputs.is_complete(line.name) and records.is_made(line.name, self._key(line), path):
                self.made_before += 1
                bar.add(0.0)
            else:
                yield line

    def _key(self, line: Line) -> str:
        return speech_key(self.synthesizer, line, self.seed, self.options, self.outputs)

    def _groups(self, lines: Iterator[Line]) -> Iterator[list[Line]]:
        """Yield lines that are batched together: several batches of a file, single lines of a live source."""
        size = 1 if is_read_live(self.source) else BATCHES_AT_A_TIME * self.synthesizer.manifest.range("B").max
        while group := list(itertools.islice(lines, size)):
            yield group

    def _say(self, group: list[Line]) -> Iterator[tuple[int, Audio]]:
        yield from self.synthesizer.say_each(
            [line.split or line.text for line in group], [self.seed] * len(group), self.options
        )

    def _progress_line(self) -> str:
        of = "" if self.count is None else f" of {self.count}"
        return f"{len(self.reports) + self.made_before}{of} lines have their files; --resume goes on after them"

    def _bar(self) -> SpeechProgress:
        return SpeechProgress(self.count, is_shown=self.has_bar)


class JoinedTimes:
    """When the words of several texts are spoken in the file that joins them."""

    def __init__(self, sampling_rate: int, sentence_silence: float | None) -> None:
        self._rate, self._sentence_silence = sampling_rate, sentence_silence
        self._start = 0  # sample at which the next text begins
        self.words: list[TimedText] = []
        self.characters: list[TimedText] = []

    def add(self, text: str, samples: int, words: Iterable[TimedText], characters: Iterable[TimedText]) -> None:
        """Append a text: its samples, and times from its own beginning."""
        from ...runtime.pieces import pause_after

        seconds = self._start / self._rate
        self.words += [word.shifted(seconds) for word in words]
        self.characters += [character.shifted(seconds) for character in characters]
        self._start += samples + int(pause_after(text, self._sentence_silence) * self._rate)
