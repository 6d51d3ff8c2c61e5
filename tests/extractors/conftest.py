"""Fixtures of tests/streams.py."""

from tests.streams import _in_this_process, make_stream, make_voice, many, run, streams  # noqa: F401
