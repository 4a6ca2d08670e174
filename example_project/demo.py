"""`make demo`: the shop with a web server and a worker, and one order from the cart to the parcel. The worker is
killed on the way.

Serves until Ctrl-C. With DEMO_ONCE=1 it ends when the order is shipped: exit 0, or 1 after a minute without that.
"""

from __future__ import annotations

import ctypes
import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import django

LIMIT = 60.0
PASSWORD = "demo"


class DemoFailedError(Exception):
    """The order was not shipped."""


# --- processes -------------------------------------------------------------------------------------------------------


class Process:
    """A subprocess in a process group of its own, so that it can be ended with all its children."""

    def __init__(self, *arguments: str, output: int | None = None) -> None:
        self._output = output
        self._arguments = [sys.executable, "-m", "example_project.manage", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        self._process = subprocess.Popen(
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads yet
        )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL for the whole group: no process of it can clean up."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


_prctl: Any = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _prctl is not None:
        _prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: even a killed demo leaves nothing behind


def _free_port() -> int:
    """8000 if it is free, otherwise any."""
    for port in (8000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailedError("There is no free port.")


# --- the shop's page, as a person would use it -----------------------------------------------------------------------


class Browser:
    """Reads the page and sends its forms, CSRF token and all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())).open

    def get(self, path: str = "/") -> str:
        with self._open(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> None:
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get())
        token = found[1] if found else ""
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
        with self._open(self.url + path, data=data, timeout=10):
            pass


# --- what is printed -------------------------------------------------------------------------------------------------

_started = time.monotonic()


def say(text: str) -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


class Story:
    """Prints the events of one run as they are recorded, and waits for later ones."""

    def __init__(self, run_id: str, deadline: float) -> None:
        self.run_id, self.deadline = run_id, deadline
        self._last = 0
        self._origin: datetime | None = None
        self._seen: list[tuple[str, str]] = []

    def wait_for(self, what: str, reached: Callable[[list[tuple[str, str]]], bool]) -> None:
        """Print until ``reached`` is true of the (type, correlation id) pairs seen so far."""
        while not reached(self._seen):
            if time.monotonic() > self.deadline:
                raise DemoFailedError(f"It took more than {LIMIT:.0f} s, waiting until {what}.")
            if not self._print_new():
                time.sleep(0.05)

    def _print_new(self) -> bool:
        from django_workflows.models import Event

        new = list(Event.objects.filter(run_id=self.run_id, sequence__gt=self._last).order_by("sequence"))
        for event in new:
            self._origin = self._origin or event.created_at
            seconds = (event.created_at - self._origin).total_seconds()
            say(f"  {seconds:6.2f} s  {event.type:<16} {_name(event.correlation_id):<18} {_remark(event)}".rstrip())
            self._seen.append((event.type, _name(event.correlation_id)))
            self._last = event.sequence
        return bool(new)


def _name(correlation_id: str) -> str:
    """``step:example_project.shop.workflows.pack:1`` -> ``pack``."""
    kind, _, rest = correlation_id.partition(":")
    return rest.rpartition(":")[0].rpartition(".")[2] or kind


def _remark(event: Any) -> str:
    payload = event.payload
    if event.type == "step_retrying":
        return "its worker vanished" if payload.get("lost") else f"{payload['error']['message']}: tried again"
    if event.type == "step_started" and payload["attempt"] > 1:
        return f"attempt {payload['attempt']}"
    return ""


# --- the demo --------------------------------------------------------------------------------------------------------


def prepare() -> None:
    """Create the tables, a few products, and a user of the admin."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from .shop.models import Product

    call_command("migrate", verbosity=0)
    for name, price, stock in (("Tea pot", "24.90", 1000), ("Bread knife", "39.00", 1000), ("Candle", "4.50", 1000)):
        Product.objects.get_or_create(name=name, defaults={"price": price, "stock": stock})
    users = get_user_model()._default_manager
    if not users.filter(username="demo").exists():
        users.create_superuser("demo", "demo@example.com", PASSWORD)  # type: ignore[attr-defined]


@contextmanager
def web_server(url: str) -> Iterator[Browser]:
    server = Process("runserver", "--noreload", url.removeprefix("http://"), output=subprocess.DEVNULL).start()
    try:
        browser = Browser(url)
        for _ in range(200):
            try:
                browser.get()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise DemoFailedError("The web server does not answer.")
        yield browser
    finally:
        server.end()


def ship_one_order(browser: Browser, worker: Process) -> str:
    """Order, charge, kill the worker, start it again, approve, ship. Returns the run's id."""
    from .shop.models import Order

    deadline = _started + LIMIT
    known = set(Order.objects.values_list("pk", flat=True))
    title("A customer orders a tea pot")
    browser.post("/", product="1", customer="Ada")
    order = Order.objects.exclude(pk__in=known).get()
    say(f"  order {order.pk}, run {order.run_id}: committed in one transaction")
    story = Story(order.run_id, deadline)
    story.wait_for(
        "the card is charged for the second time", lambda seen: seen.count(("step_started", "charge_card")) > 1
    )
    title(f"kill -9 {worker.pid}: the worker and all its processes, in the middle of the charge")
    worker.kill()
    title("A new worker starts")
    worker.start()
    story.wait_for("a manager is asked", _has_hook)
    title("A manager presses Approve")
    browser.post(f"/orders/{order.pk}/approve/", answer="yes")
    story.wait_for("the order is shipped", lambda seen: any(type.startswith(_ENDS) for type, _ in seen))
    order.refresh_from_db()
    if order.status != Order.Status.SHIPPED:
        raise DemoFailedError(f"The order is {order.status}.")
    title(f"Order {order.pk} is shipped")
    return order.run_id


_ENDS = ("run_completed", "run_failed", "run_cancelled")


def _has_hook(seen: list[tuple[str, str]]) -> bool:
    return any(type == "hook_created" for type, _ in seen)


def show_result(run_id: str) -> None:
    from .shop.models import Charge, Order

    order = Order.objects.get(run_id=run_id)
    subprocess.run([sys.executable, "-m", "example_project.manage", "workflows", "show", run_id], check=True)
    charge = Charge.objects.get(charge_id=order.charge_id)
    say(f"  the provider was called {charge.calls} times and charged once")


def serve(url: str) -> None:
    title("Look around (Ctrl-C ends the demo)")
    say(f"  the shop    {url}/")
    say(f"  the admin   {url}/admin/    user demo, password {PASSWORD}")
    threading.Event().wait()


def main() -> int:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    os.environ["DEMO_URL"] = url
    django.setup()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    prepare()
    worker = Process("workflows", "worker", "--verbosity=0")
    try:
        with web_server(url) as browser:
            worker.start()
            show_result(ship_one_order(browser, worker))
            if not os.environ.get("DEMO_ONCE"):
                serve(url)
    except KeyboardInterrupt:
        say("")
    except DemoFailedError as error:
        say(f"\nThe demo failed: {error}")
        return 1
    finally:
        worker.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
