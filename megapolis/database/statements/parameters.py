"""Parameters of statements, and the columns that give them their types."""

from typing import Any, NoReturn

from django.db.models import Expression, Field
from django.db.models.expressions import ExpressionList, OutputFieldIsNoneError
from django.db.models.lookups import Lookup
from django.db.models.sql import Query


class UntypedParam(OutputFieldIsNoneError, TypeError):
    """A parameter stands where there is no column to take the type from."""

    def __init__(self, name: str):
        super().__init__(f'say the type of a parameter: Param("{name}", TextField()), or whichever')


class Param(Expression):
    """A value that is named in the statement and given at each call.

    Compared with a column, or written to one, it takes the column's type. Elsewhere (inside a
    function, in an annotation, as a limit) the type must be said: `Param("prefix", TextField())`.
    The type is sent to PostgreSQL as a cast, so that every call has one plan that can use the
    column's index, whatever the size of the value.
    """

    def __init__(self, name: str, output_field: "Field[Any, Any] | None" = None):
        super().__init__(output_field=output_field)
        self.name = name
        self.has_type = output_field is not None

    def _resolve_output_field(self) -> NoReturn:
        raise UntypedParam(self.name)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Stand in the compiled SQL as one placeholder, and in its parameters as this object."""
        return "%s", [self]


def typed(value: Any, column: Any) -> Any:
    """Return the value, which if it is a parameter has the type of the column or field."""
    if isinstance(value, Param) and not value.has_type:
        return Param(value.name, getattr(column, "output_field", column))
    return value


def type_params(node: Any) -> None:
    """Give each parameter that is compared with a column the type of the column."""
    if isinstance(node, Lookup):
        if isinstance(node.rhs, ExpressionList):
            values = [typed(value, node.lhs) for value in node.rhs.get_source_expressions()]
            node.rhs.set_source_expressions(values)
        else:
            node.rhs = typed(node.rhs, node.lhs)
    if isinstance(node, Query):
        children = [node.where, *node.annotations.values()]
    else:
        children = getattr(node, "get_source_expressions", list)()
    for child in children:
        type_params(child)
