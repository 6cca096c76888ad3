#!/bin/sh
# Requests complete and streamed speech from a Triton server with curl and jq:
#     sh speak.sh http://127.0.0.1:8000 "Hello world, I missed you." hello.wav stream.pcm
set -eu
request() { jq -cn --arg text "$1" --arg encoding "$2" '{text: $text, encoding: $encoding, seed: 7}'; }

# A wav file, as base64 in JSON.
request "$2" wav | curl -sS --fail-with-body "$1/v2/models/tacoglow/generate" --json @- |
  jq -r .encoded | base64 -d > "$3"

# 16-bit samples, one server-sent event per segment, sent while the rest is still being synthesized.
request "$2" int16 | curl -sSN --fail-with-body "$1/v2/models/tacoglow_stream/generate_stream" --json @- |
  sed -un 's/^data: //p' | jq -r --unbuffered .encoded | while read -r segment; do
    printf %s "$segment" | base64 -d
  done > "$4"
