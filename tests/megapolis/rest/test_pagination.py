import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from megapolis.rest import decode_cursor, encode_cursor, split_page
from megapolis.rest.pagination import InvalidCursor

KEY = TypeAdapter(tuple[int, str])

bigints = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"))


class TestCursor:
    @given(number=bigints, name=texts, context=texts)
    def test_gives_back_what_it_holds(self, number: int, name: str, context: str) -> None:
        cursor = encode_cursor((number, name), context=context)

        assert decode_cursor(cursor, context=context, key=KEY) == (number, name)
        assert cursor.replace("-", "").replace("_", "").isalnum()

    @given(cursor=st.text())
    def test_refuses_any_text(self, cursor: str) -> None:
        with pytest.raises(InvalidCursor):
            decode_cursor(cursor, context="id", key=KEY)

    @given(number=bigints, name=texts, place=st.integers(0), letter=st.characters(codec="ascii"))
    def test_refuses_one_in_which_a_letter_was_changed_but_for_its_key(
        self, number: int, name: str, place: int, letter: str
    ) -> None:
        cursor = encode_cursor((number, name), context="id")
        place %= len(cursor)
        changed = cursor[:place] + letter + cursor[place + 1 :]

        try:
            key = decode_cursor(changed, context="id", key=KEY)
        except InvalidCursor:
            return
        assert encode_cursor(key, context="id") == changed

    @pytest.mark.parametrize("key", [(1,), ("1", "a"), (1, "a", 2), (1.0, "a"), (True, "a"), ()])
    def test_refuses_a_key_of_another_kind(self, key: tuple[object, ...]) -> None:
        with pytest.raises(InvalidCursor):
            decode_cursor(encode_cursor(key, context="id"), context="id", key=KEY)

    def test_refuses_another_context(self) -> None:
        with pytest.raises(InvalidCursor):
            decode_cursor(encode_cursor((1, "a"), context="id"), context="-id", key=KEY)

    def test_is_unpadded_and_refuses_padding(self) -> None:
        cursor = encode_cursor((1, "a"), context="id")

        for padded in (f"{cursor}=", f"{cursor}==", f"{cursor}\n", f" {cursor}"):
            with pytest.raises(InvalidCursor):
                decode_cursor(padded, context="id", key=KEY)


class TestSplitPage:
    @pytest.mark.parametrize(
        ("rows", "page", "cursor"),
        [([], [], None), ([1], [1], None), ([1, 2], [1, 2], None), ([1, 2, 3], [1, 2], "behind 2")],
    )
    def test_keeps_the_row_that_only_tells_of_another_page(
        self, rows: list[int], page: list[int], cursor: str | None
    ) -> None:
        assert split_page(rows, limit=2, cursor_of=lambda row: f"behind {row}") == (page, cursor)
