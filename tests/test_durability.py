"""What was acknowledged is there, whatever happens to the process that acknowledged it."""

import httpx
import pytest

from tests import factories, processes

WIDGETS = 1_000


@pytest.fixture
async def token(db: None) -> str:
    return await factories.make_token(await factories.make_user())


def create_until_killed(service: processes.Service, client: httpx.Client) -> list[str]:
    """Create widgets one after the other, kill the service in the middle, return the 201s."""
    acknowledged = []
    for number in range(WIDGETS):
        if number == WIDGETS // 2:
            service.process.kill()
        name = f"Widget {number:04}"
        try:
            response = client.post(f"{service.url}/widgets/", json={"name": name})
        except httpx.TransportError:
            break
        assert response.status_code == 201
        acknowledged.append(name)
    return acknowledged


def read_all(service: processes.Service, client: httpx.Client) -> list[str]:
    names, cursor = [], None
    while True:
        query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"{service.url}/widgets/", params=query).json()
        names += [widget["name"] for widget in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return names


async def test_a_killed_service_has_lost_no_widget_that_it_acknowledged(token: str) -> None:
    given = processes.development() | {"JWT_SECRET_KEY": processes.jwt_secret()}
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        with processes.serving(given) as service:
            acknowledged = create_until_killed(service, client)
        with processes.serving(given) as again:
            found = read_all(again, client)

    assert len(acknowledged) >= WIDGETS // 2
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) - len(acknowledged) <= 1
