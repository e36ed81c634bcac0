"""The model of widgets, as the admin sees it."""

from widgets.models import Widget


def test_a_widget_is_called_by_its_name() -> None:
    assert str(Widget(name="Sprocket")) == "Sprocket"
