"""The lines between client and worker."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropiris.errors import WorkerError
from dropiris.worker import protocol
from dropiris.worker.protocol import Answer, Bye, Cancel, Failure, Hello, Request, Step, decode, encode, read_lines

MESSAGES = [
    Hello(1, "0.1.0", "3.11.7", 42),
    Request(1, "ping", {"é": [1, None, "x\ny"]}, {"volume": {"file": "1-0.npy"}}),
    Cancel(7),
    Bye(),
    Step(1, "Segmenting", 0.5, 3, 6, "a remark"),
    Answer(1, {"n": 1}),
    Failure(-1, "InputError", "The scan is empty; choose another one."),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_survives_its_line(message):
    line = encode(message)
    assert line.count(b"\n") == 1 and line.isascii()
    assert decode(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[1, 2]",
        b"null",
        b"{}",
        b'{"type":"answers"}',
        b'{"type":["answer"]}',
        b'{"type":"answer"}',
        b'{"type":"answer","id":"1"}',
        b'{"type":"answer","id":true}',
        b'{"type":"step","id":1,"stage":"x","more":1}',
        b'{"type":"step","id":1,"stage":"x","fraction":"half"}',
        b"[" * 100_000,
    ],
)
def test_garbage_is_one_error(line):
    with pytest.raises(WorkerError):
        decode(line)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(line):
    try:
        decode(line)
    except WorkerError as error:
        assert str(error).endswith(".") or "message" in str(error) or "JSON" in str(error)


def test_an_endless_line_is_cut_and_the_next_one_is_read(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_LINE", 10)
    lines = list(read_lines(io.BytesIO(b"x" * 95 + b"\nnext\nlast")))
    assert lines == [b"x" * 10, b"next\n", b"last"]
