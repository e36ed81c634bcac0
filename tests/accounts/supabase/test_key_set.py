from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from accounts.jose import MalformedToken
from accounts.supabase.key_set import MalformedKeySet, read_key, read_key_set
from tests.signing import SigningKey, make_key, rsa_key, to_json

ALGORITHMS = ("ES256", "RS256", "EdDSA")
KEYS = {algorithm: make_key(algorithm, kid="k") for algorithm in ALGORITHMS}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def changed(algorithm: str, **changes: Any) -> dict[str, Any]:
    return KEYS[algorithm].jwk() | changes


def without(algorithm: str, *names: str) -> dict[str, Any]:
    return {name: value for name, value in KEYS[algorithm].jwk().items() if name not in names}


class TestReadKey:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_returns_the_public_key_for_its_algorithm(self, algorithm: str) -> None:
        key = read_key(KEYS[algorithm].jwk())
        assert key is not None
        assert (key.algorithm_name, key.key_id) == (algorithm, "k")
        assert key.Algorithm.verify(b"text", key.key, KEYS[algorithm].sign(b"text"))

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_asks_for_no_more_than_the_key_itself(self, algorithm: str) -> None:
        key = read_key(without(algorithm, "alg", "use", "key_ops", "ext"))
        assert key is not None
        assert key.algorithm_name == algorithm

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @pytest.mark.parametrize(
        "change",
        [
            {"use": "enc"},
            {"use": None},
            {"key_ops": ["sign"]},
            {"key_ops": []},
            {"key_ops": "verify"},
            {"key_ops": None},
            {"alg": "HS256"},
            {"alg": "none"},
            {"alg": "ES384"},
            {"alg": None},
            {"kid": None},
            {"kid": 1},
            {"kty": "oct", "k": "AAAA"},
            {"kty": "oct", "k": "AAAA", "alg": "HS256"},
            {"kty": None},
            {"kty": ["EC"]},
            {"d": "AAAA"},
            {"d": None},
        ],
    )
    def test_skips_a_key_that_is_not_for_checking_tokens(
        self, algorithm: str, change: dict[str, Any]
    ) -> None:
        assert read_key(changed(algorithm, **change)) is None

    @pytest.mark.parametrize(
        ("algorithm", "names"),
        [
            ("ES256", ("kid", "kty", "crv", "x", "y")),
            ("RS256", ("kid", "kty", "n", "e")),
            ("EdDSA", ("kid", "kty", "crv", "x")),
        ],
    )
    def test_skips_a_key_without_one_of_its_parts(
        self, algorithm: str, names: tuple[str, ...]
    ) -> None:
        for name in names:
            assert read_key(without(algorithm, name)) is None
            assert read_key(changed(algorithm, **{name: 1})) is None

    @pytest.mark.parametrize(
        "jwk",
        [
            changed("ES256", x=KEYS["ES256"].jwk()["y"]),
            changed("ES256", x="AAAA"),
            changed("ES256", crv="P-384"),
            changed("ES256", crv="secp256k1"),
            changed("EdDSA", crv="Ed448"),
            changed("EdDSA", crv="X25519"),
            changed("EdDSA", x="AAAA"),
            changed("EdDSA", x="A"),
            changed("RS256", n="AQAB"),
            changed("RS256", e="AA"),
            changed("RS256", e="Ag"),
        ],
    )
    def test_skips_a_key_that_is_none(self, jwk: dict[str, Any]) -> None:
        assert read_key(jwk) is None

    def test_skips_a_key_on_another_curve(self) -> None:
        es384 = get_default_algorithms()["ES384"]
        public = ec.generate_private_key(ec.SECP384R1()).public_key()
        assert read_key({**es384.to_jwk(public, as_dict=True), "kid": "k"}) is None

    @pytest.mark.parametrize("bits", [1024, 2047])
    def test_skips_a_short_rsa_key(self, bits: int) -> None:
        assert read_key(SigningKey("RS256", rsa_key(bits), "k").jwk()) is None

    def test_skips_a_private_key(self) -> None:
        for key in KEYS.values():
            algorithm = get_default_algorithms()[key.algorithm]
            assert read_key({**algorithm.to_jwk(key.private, as_dict=True), "kid": "k"}) is None

    @pytest.mark.parametrize("entry", [None, 1, "key", [], [KEYS["ES256"].jwk()], {}])
    def test_skips_what_is_no_key_at_all(self, entry: object) -> None:
        assert read_key(entry) is None

    @given(st.sampled_from(ALGORITHMS), st.data())
    def test_raises_nothing_whatever_a_part_is(self, algorithm: str, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(KEYS[algorithm].jwk())))
        key = read_key(changed(algorithm, **{name: data.draw(json_values)}))
        assert key is None or key.algorithm_name == algorithm


class TestReadKeySet:
    def test_returns_the_keys_by_kid(self) -> None:
        keys = [make_key(algorithm) for algorithm in ALGORITHMS]
        read = read_key_set(to_json({"keys": [key.jwk() for key in keys], "more": 1}))
        assert list(read) == [key.kid for key in keys]
        assert [key.algorithm_name for key in read.values()] == list(ALGORITHMS)

    def test_skips_the_bad_among_the_good(self) -> None:
        entries = [None, {"kid": "bad"}, changed("RS256", use="enc"), changed("ES256", kid="good")]
        assert list(read_key_set(to_json({"keys": entries}))) == ["good"]

    def test_takes_the_first_of_two_keys_with_one_kid(self) -> None:
        entries = [changed("ES256"), changed("EdDSA")]
        assert read_key_set(to_json({"keys": entries}))["k"].algorithm_name == "ES256"

    def test_is_empty_for_a_project_without_public_keys(self) -> None:
        assert read_key_set(b'{"keys": []}') == {}

    @pytest.mark.parametrize(
        "body",
        [b"{}", b'{"keys": null}', b'{"keys": {}}', b'{"keys": "k"}', b'{"keys": [{"kid": "k"}]}'],
    )
    def test_refuses_a_set_that_says_nothing(self, body: bytes) -> None:
        with pytest.raises(MalformedKeySet):
            read_key_set(body)

    @pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"keys": [], "keys": []}'])
    def test_refuses_what_is_no_json_object(self, body: bytes) -> None:
        with pytest.raises(MalformedToken):
            read_key_set(body)
