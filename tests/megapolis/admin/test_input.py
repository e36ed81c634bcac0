"""Whatever is sent to the admin, it is no reason for a 500."""

from typing import Any

import pytest

from tests import factories
from tests.megapolis.admin.conftest import MakeStaff, SignIn, Staff, orm

LISTS = (
    "accounts/user",
    "accounts/apisession",
    "widgets/widget",
    "admin/logentry",
    "auth/group",
)
HUGE = "9" * 30
QUERIES = (
    "q=%00",
    "id__exact=%00",
    f"id__exact={HUGE}",
    f"id=-{HUGE}",
    "name=%00",
    "email=%00",
    "object_repr=%00",
    "id__range=1",
    "id__range=123",
    "id__regex=(",
    "id__contains=%00",
    "id__in=,",
    "created_at__year=99999",
    f"created_at__year__exact={HUGE}",
    "last_seen_at__gte=0001-01-01T00:00:00%2B23:59",
    "action_time__gte=0001-01-01T00:00:00%2B23:59",
    "action_time__iso_year=99999",
    f"owner__id__exact={HUGE}",
    f"user__id__exact={HUGE}",
    "groups__id__exact=%00",
    "days=%00",
    "state=%00",
    "content_type__id__exact=%00",
    f"p={HUGE}",
    f"o={HUGE}",
    "_changelist_filters=%00",
    "_to_field=%00",
    "_popup=%00",
    "e=1&x=1",
)
OWNER = "/admin/autocomplete/?app_label=widgets&model_name=widget&field_name=owner"
UNDERSTOOD = {200, 400, 404}


class TestAutocompletion:
    async def test_bears_a_nul(self, make_staff: MakeStaff, sign_in: SignIn) -> None:
        await make_staff("ada@example.com", "view_user")
        staff = await sign_in("ada@example.com")
        response = await staff.get(f"{OWNER}&term=%00")
        assert response.status_code == 400
        assert "That cannot be understood" in response.text

    async def test_of_groups_bears_a_nul(self, superuser: Staff) -> None:
        query = "app_label=accounts&model_name=user&field_name=groups&term=%00"
        assert (await superuser.get(f"/admin/autocomplete/?{query}")).status_code == 400

    @pytest.mark.parametrize("field", ["api_sessions", "logentry", "id", "x", "%00"])
    async def test_is_for_what_a_field_refers_to(self, field: str, superuser: Staff) -> None:
        query = f"app_label=accounts&model_name=user&field_name={field}&term=a"
        assert (await superuser.get(f"/admin/autocomplete/?{query}")).status_code == 403

    @pytest.mark.parametrize("page", ["0", "x", HUGE, "%00"])
    async def test_bears_any_page(self, page: str, superuser: Staff) -> None:
        assert (await superuser.get(f"{OWNER}&page={page}")).status_code == 404


class TestAList:
    @pytest.mark.parametrize("path", LISTS)
    async def test_bears_any_query(self, path: str, superuser: Staff) -> None:
        statuses = {
            query: (await superuser.get(f"/admin/{path}/?{query}")).status_code for query in QUERIES
        }
        assert {query for query, status in statuses.items() if status not in UNDERSTOOD} == set()

    @pytest.mark.parametrize("path", LISTS)
    async def test_leads_to_no_row_of_an_impossible_key(self, path: str, superuser: Staff) -> None:
        for key in ("%00", "x", HUGE, "_0A"):
            for page in ("change", "delete", "history"):
                response = await superuser.get(f"/admin/{path}/{key}/{page}/")
                assert response.status_code in UNDERSTOOD | {403}

    @pytest.mark.parametrize("key", ["\x00", "x", HUGE])
    @pytest.mark.parametrize(
        ("path", "action"),
        [
            ("accounts/user", "deactivate"),
            ("accounts/apisession", "end_selected"),
            ("widgets/widget", "export"),
            ("widgets/widget", "delete_selected"),
            ("auth/group", "delete_selected"),
        ],
    )
    async def test_bears_any_selection(
        self, path: str, action: str, key: str, superuser: Staff
    ) -> None:
        response = await superuser.post(f"/admin/{path}/", action=action, _selected_action=key)
        assert response.status_code in UNDERSTOOD


class TestAForm:
    @pytest.mark.parametrize("owner", ["x", "\x00", HUGE, "-1"])
    async def test_bears_any_owner(self, owner: str, superuser: Staff) -> None:
        path = "/admin/widgets/widget/add/"
        offered = await superuser.http.get(path, params={"owner": owner})
        sent = await superuser.post(path, name="Cog", owner=owner)
        assert offered.status_code == 200
        assert "Please correct the error" in sent.text

    @pytest.mark.parametrize("model", ["x", "\x00", "x.y", "a.b.c", "accounts.apisession"])
    async def test_bears_any_model_from_which_a_popup_came(
        self, model: str, superuser: Staff
    ) -> None:
        response = await superuser.post(
            "/admin/auth/group/add/", name="Helpers", _popup="1", _source_model=model
        )
        assert response.status_code in UNDERSTOOD

    async def test_of_a_user_bears_a_session_that_is_none(
        self, superuser: Staff, user: Any
    ) -> None:
        await factories.make_session(user)
        sessions = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 1, "0-id": "x"}
        fields = {f"api_sessions-{name}": value for name, value in sessions.items()}
        path = f"/admin/accounts/user/{user.id}/change/"
        response = await superuser.post(path, email="x", **fields)
        assert response.status_code in UNDERSTOOD

    @pytest.mark.parametrize("charset", ["hex", "undefined", "idna", "utf-7"])
    async def test_is_read_as_utf_8_whatever_it_claims_to_be(
        self, charset: str, superuser: Staff
    ) -> None:
        name, token = "+2AA- \N{SNOWMAN}", superuser.http.cookies["csrftoken"]
        part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        form = part.format("csrfmiddlewaretoken", token) + part.format("name", name) + "--x--\r\n"
        response = await superuser.http.post(
            "/admin/auth/group/add/",
            content=form.encode(),
            headers={"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"},
            follow_redirects=True,
        )
        assert name in response.text


class TestTheDoor:
    @pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/accounts/user/"])
    async def test_bears_a_nul_in_the_cookie(self, path: str, visitor: Staff) -> None:
        response = await visitor.http.get(path, headers={"Cookie": r'sessionid="\000bcdefgh"'})
        assert response.status_code == 400

    async def test_bears_a_nul_as_the_key_of_anything(self, superuser: Staff) -> None:
        from django.contrib.contenttypes.models import ContentType

        for kind in await orm(lambda: list(ContentType.objects.all())):
            response = await superuser.get(f"/admin/r/{kind.pk}/%00/")
            assert response.status_code in UNDERSTOOD

    async def test_says_in_the_log_why_but_not_what_was_sent(
        self, superuser: Staff, log: list[str]
    ) -> None:
        when = "0001-01-01T00:00:00%2B23:59"
        await superuser.get(f"/admin/accounts/user/?last_seen_at__gte={when}")
        (line,) = [line for line in log if "rejected" in line]
        assert "InvalidTimeZoneDisplacementValue" in line
        assert "23:59" not in line
