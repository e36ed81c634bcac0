"""The strict readers of JSON and base64url."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megapolis.encoding import (
    LoneSurrogate,
    MalformedJSON,
    decode_base64url,
    encode_base64url,
    read_json,
)


class TestDecodeBase64url:
    @given(st.binary())
    def test_reads_what_encoding_writes(self, data: bytes) -> None:
        assert decode_base64url(encode_base64url(data)) == data

    @given(st.binary(max_size=12))
    def test_reads_no_other_spelling(self, text: bytes) -> None:
        with suppress(ValueError):
            assert encode_base64url(decode_base64url(text)) == text

    @pytest.mark.parametrize("text", [b"", b"AA", b"AAA", b"AAAA", b"AAAX", b"-_-_", b"AAA9"])
    def test_reads_and_writes_canonical_text(self, text: bytes) -> None:
        assert encode_base64url(decode_base64url(text)) == text

    @pytest.mark.parametrize(
        "text", [b"A", b"AA=", b"AA==", b"AB", b"AAB", b"A A", b"AA\n", b"+/+/", b"A*AA", b"\xff"]
    )
    def test_rejects_what_is_not_canonical(self, text: bytes) -> None:
        with pytest.raises(ValueError, match=r"base64|padding"):
            decode_base64url(text)


class TestReadJSON:
    def test_reads_values_of_every_type(self) -> None:
        text = b' {"a": [1, 2.5, true, null, {"b": "\\ud83d\\ude00"}]}\n'
        assert read_json(text) == {"a": [1, 2.5, True, None, {"b": "😀"}]}

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b'{"a":1,"a":1}',
            b'{"a":{"b":1,"\\u0062":2}}',
            b"[NaN]",
            b"[-Infinity]",
            b"\xef\xbb\xbf{}",
            "{}".encode("utf-16"),
            b'"\xff"',
            b"[" * 100_000,
            b"1" * 5_000,
            b"{%s}" % b",".join(b'"%d":1' % number for number in range(1001)),
        ],
    )
    def test_rejects_what_rfc_8259_does_not_allow_or_python_cannot_read(self, text: bytes) -> None:
        with pytest.raises(MalformedJSON):
            read_json(text)

    @pytest.mark.parametrize("text", [b'"\\ud800"', b'{"\\udfff":1}', b'[["\\ud800"]]'])
    def test_rejects_a_lone_surrogate_at_any_depth(self, text: bytes) -> None:
        with pytest.raises(LoneSurrogate):
            read_json(text)

    @given(st.binary() | st.text(st.sampled_from('{}[]",:1e\\ud8')).map(str.encode))
    def test_raises_no_other_exception(self, text: bytes) -> None:
        with suppress(MalformedJSON):
            read_json(text)
