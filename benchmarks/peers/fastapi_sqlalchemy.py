"""FastAPI with async SQLAlchemy and asyncpg, as the documentation of the three advises.

https://fastapi.tiangolo.com/tutorial/security/oauth2-jwt/
https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from benchmarks.peers import configuration
from benchmarks.peers.sqlalchemy_models import ApiSession, User, Widget, engine, new_session


class WidgetCreate(BaseModel):
    """The body of a create."""

    name: str = Field(min_length=1, max_length=255)


class WidgetResponse(BaseModel):
    """A widget as it is answered."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    owner_id: int
    created_at: datetime
    updated_at: datetime


class WidgetPage(BaseModel):
    """A page of a list."""

    items: list[WidgetResponse]
    next_cursor: str | None


async def get_session() -> AsyncIterator[AsyncSession]:
    """Yield the database session of the request."""
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def get_current_user(bearer: Bearer, session: Session) -> User:
    """Return the user of a valid token whose session is not revoked."""
    unauthorized = HTTPException(
        status.HTTP_401_UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"}
    )
    try:
        claims = jwt.decode(
            bearer.credentials,
            configuration.SECRET,
            algorithms=["HS256"],
            issuer=configuration.ISSUER,
            audience=configuration.AUDIENCE,
            options={"require": configuration.REQUIRED_CLAIMS},
        )
    except jwt.PyJWTError:
        raise unauthorized from None
    found = await session.scalar(
        select(ApiSession)
        .join(ApiSession.user)
        .options(joinedload(ApiSession.user))
        .where(
            ApiSession.key == UUID(claims["sid"]),
            ApiSession.user_id == int(claims["sub"]),
            ApiSession.revoked_at.is_(None),
            ApiSession.expires_at > func.now(),
            User.is_active,
        )
    )
    if found is None:
        raise unauthorized
    return found.user


CurrentUser = Annotated[User, Depends(get_current_user)]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the pool at the end."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/widgets/{widget_id}")
async def get_widget(widget_id: int, _: CurrentUser, session: Session) -> WidgetResponse:
    """Return a widget."""
    widget = await session.get(Widget, widget_id)
    if widget is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return WidgetResponse.model_validate(widget)


@app.get("/widgets/")
async def list_widgets(
    _: CurrentUser,
    session: Session,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: int = 0,
) -> WidgetPage:
    """Return a page of widgets."""
    query = select(Widget).where(Widget.id > cursor).order_by(Widget.id).limit(limit + 1)
    widgets = (await session.scalars(query)).all()
    return WidgetPage(
        items=[WidgetResponse.model_validate(widget) for widget in widgets[:limit]],
        next_cursor=str(widgets[limit - 1].id) if len(widgets) > limit else None,
    )


@app.post("/widgets/", status_code=status.HTTP_201_CREATED)
async def create_widget(
    payload: WidgetCreate, user: CurrentUser, session: Session
) -> WidgetResponse:
    """Create a widget and return it."""
    widget = Widget(name=payload.name, owner_id=user.id)
    session.add(widget)
    try:
        await session.commit()
    except IntegrityError:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Name already exists") from None
    return WidgetResponse.model_validate(widget)
