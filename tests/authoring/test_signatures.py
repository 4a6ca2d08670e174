from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as StandardWebhook

from django_workflows.authoring.http import Headers
from django_workflows.authoring.signatures import InvalidSignatureError, Signature, verify

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))


def sign_stripe(body: bytes, secret: str, stamp: str = STAMP) -> str:
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"


def sign_github(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def sign_standard(body: bytes, secret: str, message: str = "msg_1", at: datetime = NOW) -> Headers:
    signature = StandardWebhook(secret).sign(message, at, body.decode())
    return Headers(
        {"Webhook-Id": message, "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}
    )


SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()
OLD_SECRET = base64.b64encode(b"the one that is being replaced..").decode()


class TestPublishedVectors:
    def test_github(self) -> None:
        headers = Headers(
            {
                "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
                "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            }
        )
        secret = "It's a Secret to Everybody"
        assert verify(Signature("github"), headers, b"Hello, World!", [secret], NOW) == headers["X-GitHub-Delivery"]

    def test_standard_webhooks(self) -> None:
        headers = Headers(
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            }
        )
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        then = datetime.fromtimestamp(1614265330, UTC)
        assert verify(Signature("standard"), headers, b'{"test": 2432232314}', [secret], then) == headers["webhook-id"]

    def test_the_public_package_agrees_both_ways(self) -> None:
        body, now = b'{"hello": "w\xc3\xb6rld"}', datetime.now(UTC)
        headers = sign_standard(body, SECRET, at=now)
        assert verify(Signature("standard"), headers, body, [SECRET], now) == "msg_1"
        StandardWebhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})


class TestRefusals:
    @pytest.mark.parametrize("scheme", ["standard", "github", "stripe"])
    def test_missing_headers(self, scheme: str) -> None:
        with pytest.raises(InvalidSignatureError, match="missing"):
            verify(Signature(scheme), Headers(), b"", ["secret"], NOW)

    @pytest.mark.parametrize("scheme", ["standard", "github", "stripe"])
    def test_without_a_secret_nothing_is_accepted(self, scheme: str) -> None:
        with pytest.raises(InvalidSignatureError, match="no secret"):
            verify(Signature(scheme), Headers({"x-hub-signature-256": sign_github(b"", "")}), b"", [], NOW)

    @pytest.mark.parametrize("empty", ["", "  ", "\n", "whsec_"])
    def test_an_empty_secret_is_none(self, empty: str) -> None:
        """An environment variable that is not set: anyone could sign with the empty key."""
        signed = {
            "github": Headers({"x-hub-signature-256": sign_github(b"", empty)}),
            "stripe": Headers({"stripe-signature": sign_stripe(b"", empty)}),
        }
        for scheme, headers in signed.items():
            with pytest.raises(InvalidSignatureError, match="no secret"):
                verify(Signature(scheme), headers, b"", [empty], NOW)
            with pytest.raises(InvalidSignatureError, match="does not fit"):
                verify(Signature(scheme), headers, b"", [empty, "a real one"], NOW)

    def test_another_body(self) -> None:
        with pytest.raises(InvalidSignatureError):
            verify(Signature("standard"), sign_standard(b"one", SECRET), b"two", [SECRET], NOW)
        with pytest.raises(InvalidSignatureError):
            verify(Signature("stripe"), Headers({"Stripe-Signature": sign_stripe(b"1", "s")}), b"2", ["s"], NOW)
        with pytest.raises(InvalidSignatureError):
            verify(Signature("github"), Headers({"X-Hub-Signature-256": sign_github(b"1", "s")}), b"2", ["s"], NOW)

    @pytest.mark.parametrize("moved", [timedelta(seconds=301), timedelta(seconds=-301)])
    def test_a_replay_outside_the_window_in_either_direction(self, moved: timedelta) -> None:
        stripe = Headers({"Stripe-Signature": sign_stripe(b"x", "s")})
        verify(Signature("stripe"), stripe, b"x", ["s"], NOW + moved * 0.99)
        for signature, headers, secret in [
            (Signature("stripe"), stripe, "s"),
            (Signature("standard"), sign_standard(b"x", SECRET), SECRET),
        ]:
            with pytest.raises(InvalidSignatureError, match="timestamp"):
                verify(signature, headers, b"x", [secret], NOW + moved)

    def test_the_window_is_the_webhooks_own(self) -> None:
        headers, later = Headers({"Stripe-Signature": sign_stripe(b"x", "s")}), NOW + timedelta(hours=1)
        verify(Signature("stripe", tolerance=timedelta(hours=2)), headers, b"x", ["s"], later)

    @pytest.mark.parametrize("stamp", ["", "-5", "1e9", "٣", "9" * 5000, "1614265330.5", " 1614265330"])
    def test_a_timestamp_that_is_no_plain_number(self, stamp: str) -> None:
        headers = Headers({"Webhook-Id": "m", "Webhook-Timestamp": stamp, "Webhook-Signature": "v1,eA=="})
        with pytest.raises(InvalidSignatureError):
            verify(Signature("standard"), headers, b"", [SECRET], NOW)

    def test_only_version_1_counts(self) -> None:
        headers = dict(sign_standard(b"x", SECRET))
        headers["Webhook-Signature"] = headers["Webhook-Signature"].replace("v1,", "v2,")
        with pytest.raises(InvalidSignatureError):
            verify(Signature("standard"), Headers(headers), b"x", [SECRET], NOW)
        weak = sign_stripe(b"x", "s").replace("v1=", "v0=")
        with pytest.raises(InvalidSignatureError):
            verify(Signature("stripe"), Headers({"Stripe-Signature": weak}), b"x", ["s"], NOW)
        sha1 = sign_github(b"x", "s").replace("sha256=", "sha1=")
        with pytest.raises(InvalidSignatureError):
            verify(Signature("github"), Headers({"X-Hub-Signature-256": sha1}), b"x", ["s"], NOW)

    def test_a_second_timestamp_is_no_way_round_the_window(self) -> None:
        old = str(int(STAMP) - 100_000)
        headers = Headers({"Stripe-Signature": f"t={STAMP}," + sign_stripe(b"x", "s", old)})
        with pytest.raises(InvalidSignatureError, match="one timestamp"):
            verify(Signature("stripe"), headers, b"x", ["s"], NOW)

    def test_a_secret_that_is_not_base64_opens_nothing(self) -> None:
        with pytest.raises(InvalidSignatureError):
            verify(Signature("standard"), sign_standard(b"x", SECRET), b"x", ["whsec_", "not base64!"], NOW)


class TestRotation:
    def test_any_of_the_secrets_and_any_of_the_signatures(self) -> None:
        assert verify(Signature("standard"), sign_standard(b"x", OLD_SECRET), b"x", [SECRET, OLD_SECRET], NOW)
        both = dict(sign_standard(b"x", SECRET))
        both["Webhook-Signature"] = "v1a,abc " + both["Webhook-Signature"] + " v1,AAAA"
        assert verify(Signature("standard"), Headers(both), b"x", [SECRET], NOW)
        stripe = sign_stripe(b"x", "new") + ",v1=" + "0" * 64
        verify(Signature("stripe"), Headers({"Stripe-Signature": stripe}), b"x", ["newer", "new"], NOW)


class TestDeliveryIds:
    def test_stripes_is_in_the_signed_body(self) -> None:
        body = b'{"id": "evt_1", "type": "charge.succeeded"}'
        assert (
            verify(Signature("stripe"), Headers({"Stripe-Signature": sign_stripe(body, "s")}), body, ["s"], NOW)
            == "evt_1"
        )

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"id": 5}', b'{"id": ""}', b"[" * 100_000, b"\xff"])
    def test_a_body_without_one_has_none(self, body: bytes) -> None:
        headers = Headers({"Stripe-Signature": sign_stripe(body, "s")})
        assert verify(Signature("stripe"), headers, body, ["s"], NOW) is None

    @pytest.mark.parametrize("body", [b'{"id": "\\u0000"}', b'{"id": "\\ud800"}', b'{"id": "' + b"x" * 5000 + b'"}'])
    def test_odd_ones_are_replaced_by_their_hash(self, body: bytes) -> None:
        found = verify(Signature("stripe"), Headers({"Stripe-Signature": sign_stripe(body, "s")}), body, ["s"], NOW)
        assert found is not None
        assert len(found) == 64


class TestSignature:
    def test_text_says_the_same(self) -> None:
        assert Signature.parse("stripe") == Signature("stripe")
        assert Signature.parse("stripe:shop") == Signature("stripe", "shop")
        assert Signature.parse("stripe").secret_name == "stripe"

    @pytest.mark.parametrize("given", ["", "paypal", "stripe:", 5, None])
    def test_what_is_no_signature(self, given: object) -> None:
        with pytest.raises(ValueError, match=r"scheme|secret|verify"):
            Signature.parse(given)  # type: ignore[arg-type]

    def test_it_comes_back_from_its_options(self) -> None:
        signature = Signature("github", "repo", timedelta(seconds=7))
        again = Signature.from_options(signature.to_options())
        assert (again.scheme, again.secret_name, again.tolerance) == ("github", "repo", timedelta(seconds=7))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # other suites may keep the machine busy
@given(
    st.sampled_from(["standard", "github", "stripe"]),
    st.dictionaries(
        st.sampled_from(
            ["webhook-id", "webhook-timestamp", "webhook-signature", "stripe-signature", "x-hub-signature-256"]
        ),
        st.text(max_size=40) | st.sampled_from([STAMP, f"t={STAMP},v1=é", "sha256=é", "v1,é", "v1," + "A" * 9999]),
    ),
    st.binary(max_size=60),
)
def test_whatever_comes_it_is_refused_with_the_one_error(scheme: str, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(InvalidSignatureError):
        verify(Signature(scheme), Headers(headers), body, [SECRET], NOW)
