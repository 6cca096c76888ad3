"""Speak a list of texts on a Ray cluster, one file per line, in a folder that all machines share.

    pip install ray 'tacoglow[cpu]'                                   # on every machine
    python examples/ray_list.py voice/ lines.txt spoken/ --shards 64

The list is cut into shards, which Ray hands to free cores. The files are those of `trt-infer -i lines.txt`, bit for bit
on equal processors. A shard whose machine is lost begins again elsewhere and keeps the files that are there; so does
this command when it is called again. The exit status is 1 if lines were skipped or a shard failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import ray


@ray.remote(num_cpus=1, max_retries=3)  # type: ignore[untyped-decorator]
def speak_shard(bundle: str, texts: str, folder: str, shard: str) -> tuple[int, str]:
    """Speak every N-th line from the K-th, for the shard K/N; returns the command's exit status and the last line that
    it says."""
    command = (sys.executable, "-m", "tacoglow", "infer", bundle, "-i", texts, "-o", folder)
    options = ("--shard", shard, "--resume", "--threads", "1")
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    return done.returncode, last_line(done.stderr)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="folder written by export-onnx, at the same place on every machine")
    parser.add_argument("texts", help="list of texts, likewise")
    parser.add_argument("folder", help="folder of the audio, likewise")
    parser.add_argument("--shards", type=int, default=16, help="parts of the list; several for each core")
    parser.add_argument("--address", help="of the cluster; by default the one of RAY_ADDRESS, or this machine")
    arguments = parser.parse_args()
    if arguments.shards < 1:
        parser.exit(1, f"--shards: expected 1 or more, got {arguments.shards}\n")
    ray.init(address=arguments.address)
    place = [str(Path(name).resolve()) for name in (arguments.bundle, arguments.texts, arguments.folder)]
    waiting = {speak_shard.remote(*place, f"{k}/{arguments.shards}"): k for k in range(1, arguments.shards + 1)}
    codes = []
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        try:
            code, said = ray.get(ready)
        except ray.exceptions.RayError as error:  # such as a machine that is lost more often than Ray begins again
            code, said = 2, last_line(str(error))
        codes.append(code)
        failed = "" if code in (0, 1) else "failed: "  # 1: some lines cannot be spoken, and are named
        print(f"shard {waiting.pop(ready)} of {arguments.shards}: {failed}{said}", flush=True)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
