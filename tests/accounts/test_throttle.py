"""The limit on exchanges: by itself with a clock of the test's own, over HTTP, and as a process."""

from collections.abc import Iterator

import httpx
import pytest
from django.http import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from accounts import api, throttle
from accounts.throttle import AddressThrottle, client_network
from tests.accounts.conftest import Exchange
from tests.fakes import FakeSupabase
from tests.processes import Service, development, serving


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ten(clock: Clock) -> AddressThrottle:
    """Ten requests per minute, one every six seconds."""
    return AddressThrottle(10, clock=clock)


def allows(limit: AddressThrottle, address: str = "192.0.2.1", **meta: str) -> bool:
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": address, **meta}
    return limit.allow_request(request)


class TestAddressThrottle:
    def test_allows_a_minutes_worth_at_once_and_no_more(self, ten: AddressThrottle) -> None:
        assert [allows(ten) for _ in range(12)] == [True] * 10 + [False] * 2

    def test_allows_one_more_each_time_that_its_share_of_a_minute_has_passed(
        self, ten: AddressThrottle, clock: Clock
    ) -> None:
        for _ in range(10):
            allows(ten)
        for _ in range(3):
            clock.now += 5
            assert not allows(ten)
            clock.now += 1
            assert allows(ten)
            assert not allows(ten)

    def test_saves_no_more_than_a_minutes_worth_up(
        self, ten: AddressThrottle, clock: Clock
    ) -> None:
        allows(ten)
        clock.now += 86_400
        assert [allows(ten) for _ in range(11)] == [True] * 10 + [False]

    def test_forgives_a_client_that_tries_too_often(
        self, ten: AddressThrottle, clock: Clock
    ) -> None:
        """What is refused costs nothing: who keeps trying gets his share all the same."""
        for _ in range(10):
            allows(ten)
        allowed = 0
        for _ in range(60):
            clock.now += 1
            allowed += allows(ten)
        assert allowed == 10

    @given(st.integers(1, 100), st.lists(st.floats(0, 3), max_size=30))
    def test_tells_how_long_to_wait(self, per_minute: int, pauses: list[float]) -> None:
        clock = Clock()
        limit = AddressThrottle(per_minute, clock=clock)
        for pause in [*[0.0] * per_minute, *pauses]:
            clock.now += pause
            allows(limit)
        while allows(limit):
            pass
        wait = limit.wait()

        assert 1 <= wait <= 60
        clock.now += wait + 1e-6
        assert allows(limit)

    def test_waits_as_long_as_its_share_of_a_minute(self, clock: Clock) -> None:
        limit = AddressThrottle(7, clock=clock)
        for _ in range(8):
            allows(limit)
        assert limit.wait() == 9
        clock.now += 4
        assert not allows(limit)
        assert limit.wait() == 5

    def test_counts_each_address_for_itself(self, ten: AddressThrottle) -> None:
        for _ in range(11):
            allows(ten, "192.0.2.1")
        assert allows(ten, "192.0.2.2")
        assert not allows(ten, "192.0.2.1")

    def test_counts_an_ipv6_network_of_64_bits_as_one_client(self, ten: AddressThrottle) -> None:
        answers = [allows(ten, f"2001:db8:0:1::{number:x}") for number in range(11)]
        assert answers == [True] * 10 + [False]
        assert allows(ten, "2001:db8:0:2::1")

    def test_counts_all_whose_address_is_none_as_one_client(self, ten: AddressThrottle) -> None:
        answers = [allows(ten, f"nobody {number}") for number in range(11)]
        assert answers == [True] * 10 + [False]

    def test_believes_no_header(self, ten: AddressThrottle) -> None:
        answers = [
            allows(ten, HTTP_X_FORWARDED_FOR=f"192.0.2.{number}", HTTP_X_REAL_IP=f"{number}")
            for number in range(11)
        ]
        assert answers == [True] * 10 + [False]

    def test_is_off_at_zero(self, clock: Clock) -> None:
        limit = AddressThrottle(0, clock=clock)
        assert all(allows(limit) for _ in range(1000))
        assert not limit._buckets

    def test_remembers_ten_thousand_addresses_and_no_more(
        self, ten: AddressThrottle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert throttle.ADDRESSES == 10_000
        monkeypatch.setattr(throttle, "ADDRESSES", 3)
        for _ in range(11):
            allows(ten, "192.0.2.1")
        for number in range(2, 4):
            allows(ten, f"192.0.2.{number}")
        assert not allows(ten, "192.0.2.1")
        allows(ten, "192.0.2.4")

        assert [*ten._buckets] == ["192.0.2.3", "192.0.2.1", "192.0.2.4"]
        assert not allows(ten, "192.0.2.1")

    def test_goes_by_a_clock_that_never_goes_back(self) -> None:
        limit = AddressThrottle(1)
        assert limit.clock.__name__ == "monotonic"
        assert [allows(limit), allows(limit)] == [True, False]


class TestClientNetwork:
    @pytest.mark.parametrize(
        ("address", "client"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            ("", "unknown"),
            ("unix", "unknown"),
            ("1" * 65536, "unknown"),
            ("fe80::1%" + "x" * 65536, "fe80::/64"),
        ],
    )
    def test_of_an_address(self, address: str, client: str) -> None:
        assert client_network(address) == client


class TestOverHTTP:
    @pytest.fixture(autouse=True)
    def limit(
        self, verifying: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> AddressThrottle:
        """The endpoint's own limit, at three a minute and with nothing counted yet."""
        fresh = AddressThrottle(3, clock=clock)
        for name, value in vars(fresh).items():
            monkeypatch.setattr(api.exchange_throttle, name, value)
        return api.exchange_throttle

    async def test_counts_good_and_bad_and_malformed_exchanges(
        self,
        exchange: Exchange,
        anonymous: httpx.AsyncClient,
        project: FakeSupabase,
        queries: list[bytes],
    ) -> None:
        statuses = [
            (await exchange(project.token())).status_code,
            (await exchange("a.b.c")).status_code,
            (await anonymous.post("/auth/token", json={})).status_code,
        ]
        queries.clear()
        response = await exchange(project.token())

        assert statuses == [200, 401, 422]
        assert response.status_code == 429
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["Retry-After"] == "20"
        assert response.json()["title"] == "Too Many Requests"
        assert queries == []

    async def test_answers_again_after_the_wait(
        self, exchange: Exchange, project: FakeSupabase, clock: Clock
    ) -> None:
        for _ in range(3):
            await exchange("a.b.c")
        wait = int((await exchange(project.token())).headers["Retry-After"])
        clock.now += wait

        assert (await exchange(project.token())).status_code == 200

    async def test_concerns_no_other_endpoint(
        self, exchange: Exchange, client: httpx.AsyncClient
    ) -> None:
        for _ in range(4):
            await exchange("a.b.c")

        assert (await client.get("/auth/me")).status_code == 200
        assert (await client.get("/auth/token")).status_code == 405


@pytest.fixture(scope="module")
def direct(pool: None) -> Iterator[Service]:
    """The service without a proxy, at two exchanges a minute."""
    with serving(development() | {"EXCHANGE_LIMIT_PER_MINUTE": "2"}) as service:
        yield service


@pytest.fixture(scope="module")
def proxied(pool: None) -> Iterator[Service]:
    """The service behind proxies on this machine and in one network, at two a minute."""
    proxies = {"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}
    with serving(development() | proxies | {"EXCHANGE_LIMIT_PER_MINUTE": "2"}) as service:
        yield service


def statuses(service: Service, *forwarded_for: str) -> list[int]:
    return [
        service.post_token("a.b.c", X_Forwarded_For=addresses).status_code
        for addresses in forwarded_for
    ]


class TestForwardedFor:
    def test_is_not_believed_from_a_stranger(self, direct: Service) -> None:
        assert statuses(direct, "192.0.2.1", "192.0.2.2", "192.0.2.3") == [401, 401, 429]

    def test_is_believed_from_a_trusted_proxy(self, proxied: Service) -> None:
        assert statuses(proxied, *["192.0.2.1"] * 3) == [401, 401, 429]
        assert statuses(proxied, "192.0.2.2") == [401]

    def test_is_believed_as_far_as_trusted_proxies_wrote_it(self, proxied: Service) -> None:
        """What the client itself sent stands to the left of what the first proxy added."""
        chains = [f"192.0.2.{number}, 198.51.100.7, 10.1.2.3" for number in range(10, 13)]
        assert statuses(proxied, *chains) == [401, 401, 429]

    def test_counts_an_ipv6_network_as_one_client(self, proxied: Service) -> None:
        addresses = [f"2001:db8:0:1::{number}" for number in range(1, 4)]
        assert statuses(proxied, *addresses) == [401, 401, 429]

    def test_may_be_nonsense(self, proxied: Service) -> None:
        nonsense = (",", "nobody", "%00", "1" * 5000, "::ffff:999.1.1.1", "10.0.0.1")
        assert set(statuses(proxied, *nonsense)) <= {401, 429}
