"""The frame in front of a streamed mp3 that tells players by how much the encoder delays the audio."""

from __future__ import annotations

LAME_DELAY = 576  # samples; players add the 529 of a decoder
_HAS_BYTES = 2  # a flag: the length in bytes follows
_UNKNOWN_LENGTH = 0xFFFF_FFFF  # FFmpeg reads the frame as a tag only if it has a length
_LAME_BYTES = 36  # size of LAME's own fields
_MPEG1 = 0x08  # bit of a header's second byte
_PADDED = 0x02  # bit of a header's third byte


def info_frame(first_frame: bytes) -> bytes:
    """Make a silent frame with an Info tag, for a mono stream of constant bit rate. first_frame: of its audio.

    Of what the tag can state, it states the delay: how long a stream becomes is not known when it begins.
    """
    is_padded = bool(first_frame[2] & _PADDED)
    header = bytes([*first_frame[:2], first_frame[2] & ~_PADDED, first_frame[3]])
    side_information = bytes(17 if header[1] & _MPEG1 else 9)
    length = _HAS_BYTES.to_bytes(4, "big") + _UNKNOWN_LENGTH.to_bytes(4, "big")
    lame = b"Lavc".ljust(21, b"\0") + (LAME_DELAY << 12).to_bytes(3, "big")  # the delay, and no padding at the end
    frame = header + side_information + b"Info" + length + lame.ljust(_LAME_BYTES, b"\0")
    return frame.ljust(len(first_frame) - is_padded, b"\0")
