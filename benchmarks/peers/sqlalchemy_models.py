"""The service's tables for SQLAlchemy, and the engine as its documentation advises.

https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, func
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import DateTime

from benchmarks.peers import configuration

engine = create_async_engine(
    URL.create(
        "postgresql+asyncpg",
        username=configuration.DATABASE_USER,
        database=configuration.DATABASE_NAME,
        query={"host": configuration.DATABASE_SOCKET},
    ),
    pool_size=configuration.POOL_SIZE,
    max_overflow=0,
)
new_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The declarative base."""

    type_annotation_map = {datetime: DateTime(timezone=True)}


class User(Base):
    """The columns that a request needs of a user."""

    __tablename__ = "accounts_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    is_active: Mapped[bool]
    is_staff: Mapped[bool]


class ApiSession(Base):
    """The columns that a request needs of a session."""

    __tablename__ = "accounts_apisession"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[UUID]
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts_user.id"))
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="raise")


class Widget(Base):
    """The whole widget."""

    __tablename__ = "widgets_widget"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("accounts_user.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
