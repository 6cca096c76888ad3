"""Records when the client of a server had which part of its speech."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SENTENCES = (  # texts of the load generators
    "The prisoner had nothing to deal with but wooden panels.",
    "Hello world, I missed you.",
    "It was a bright cold day in April, and the clocks were striking.",
    "The passage of the crowd, and the long delay at the gate, had made the old man tired and cold.",
)
Kind = Literal["whole", "stream"]  # complete speech in one response, or a stream of segments
BUFFER_SECONDS = 1.0  # a player's wait after the first segment, which is short, so that the second arrives in time


@dataclass
class ClientResult:
    """One request as its client experienced it; times are in seconds since the request was sent."""

    latency: float = 0.0  # until the last sample
    arrivals: list[tuple[float, float]] = field(default_factory=list)  # (time, audio seconds) of each segment
    error: str | None = None

    @property
    def audio_seconds(self) -> float:
        return sum(seconds for _, seconds in self.arrivals)

    @property
    def buffer_needed(self) -> float:
        """Seconds that a player must wait after the first segment to never have to wait again."""
        needed, played = 0.0, 0.0
        for arrival, seconds in self.arrivals:
            needed = max(needed, arrival - self.arrivals[0][0] - played)
            played += seconds
        return needed

    @property
    def is_real_time(self) -> bool:
        """True if playback that starts BUFFER_SECONDS after the first segment never has to wait for a later one."""
        return self.buffer_needed <= BUFFER_SECONDS
