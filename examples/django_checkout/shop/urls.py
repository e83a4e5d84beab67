"""The pages of the shop."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.shop, name="shop"),
    path("checkout/<str:item>", views.checkout, name="checkout"),
    path("pay/<str:item>", views.pay, name="pay"),
    path("result", views.result, name="result"),
]
