"""`tacoglow serve`: HTTP, as clients of OpenAI's speech route speak it, in front of one scheduler per voice.

Needs the extra `serve`; nothing outside this package imports it but the command.
"""
