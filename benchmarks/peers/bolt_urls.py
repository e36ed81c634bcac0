"""The URLs of the django-bolt peer that Django itself would serve: none."""

urlpatterns: list[object] = []
