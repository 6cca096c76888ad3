"""Request complete and streamed speech from a Triton server, using only tritonclient and NumPy.

pip install 'tritonclient[grpc]'
python speak.py 127.0.0.1:8001 "Hello world, I missed you." hello.wav
"""

from __future__ import annotations

import queue
import sys
import time
import wave
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput


def inputs(text: str, seed: int) -> list[InferInput]:
    tensors = [InferInput("text", [1, 1], "BYTES"), InferInput("seed", [1, 1], "UINT64")]
    tensors[0].set_data_from_numpy(np.array([[text.encode()]], object))
    tensors[1].set_data_from_numpy(np.array([[seed]], np.uint64))
    return tensors


def main() -> None:
    address, text, path = sys.argv[1:]
    client = InferenceServerClient(address)

    result = client.infer("tacoglow", inputs(text, seed=7))
    samples, rate = result.as_numpy("audio")[0], int(result.as_numpy("sampling_rate")[0, 0])
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    print(f"{path}: {len(samples) / rate:.2f} s of audio")

    responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
    start = time.monotonic()
    client.start_stream(lambda result, error: responses.put(error or result))
    client.async_stream_infer("tacoglow_stream", inputs(text, seed=7))
    while True:
        segment = responses.get(timeout=60)
        if isinstance(segment, Exception):
            raise segment
        if segment.as_numpy("stop_reason")[0, 0]:
            break
        seconds = segment.as_numpy("audio").size / rate
        print(f"after {time.monotonic() - start:.3f} s: {seconds:.3f} s of audio")
    client.stop_stream()


if __name__ == "__main__":
    main()
