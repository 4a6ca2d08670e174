"""What a body must not use, and what to use instead. One rule for each check id, ``django_workflows.W010`` and on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """``what`` completes "the body …", ``fix`` is the advice. ``paths``: dotted names; ending in ``.``, all below."""

    code: str
    what: str
    fix: str
    paths: tuple[str, ...] = ()


RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule(
            "W010",
            "reads the wall clock, which says something else on every replay",
            "Use django_workflows.now(), the run's own clock.",
            (
                "datetime.datetime.now",
                "datetime.datetime.utcnow",
                "datetime.datetime.today",
                "datetime.date.today",
                "time.time",
                "time.time_ns",
                "time.monotonic",
                "time.monotonic_ns",
                "time.perf_counter",
                "time.perf_counter_ns",
                "time.localtime",
                "time.gmtime",
                "django.utils.timezone.now",
                "django.utils.timezone.localtime",
                "django.utils.timezone.localdate",
            ),
        ),
        Rule(
            "W011",
            "draws random numbers, which differ on every replay",
            "Use django_workflows.random(), the run's own generator; for secrets, a step.",
            ("random.", "secrets.", "os.urandom", "numpy.random.", "django.utils.crypto.get_random_string"),
        ),
        Rule(
            "W012",
            "makes a UUID, which differs on every replay",
            "Use django_workflows.uuid4().",
            ("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"),
        ),
        Rule(
            "W013",
            "uses the database or the cache, whose answer differs on every replay",
            "Put the query in a @step and pass its result on.",
            (
                "django.db.transaction.",
                "django.db.connection.",
                "django.db.connections.",
                "django.core.cache.",
                "django.shortcuts.get_object_or_404",
                "django.shortcuts.get_list_or_404",
                "django.shortcuts.aget_object_or_404",
                "django.shortcuts.aget_list_or_404",
            ),
        ),
        Rule(
            "W014",
            "reaches outside, to the network, to files or to other processes",
            "Put it in a @step: a step is recorded once, a body runs again and again.",
            (
                "open",
                "io.open",
                "requests.",
                "httpx.",
                "aiohttp.",
                "urllib.request.",
                "urllib3.",
                "http.client.",
                "smtplib.",
                "socket.",
                "subprocess.",
                "shutil.",
                "tempfile.",
                "os.system",
                "os.popen",
                "os.remove",
                "os.rename",
                "os.listdir",
                "os.scandir",
                "django.core.mail.",
                "boto3.",
                "redis.",
            ),
        ),
        Rule(
            "W015",
            "blocks its worker with time.sleep(), on every replay again",
            'Use `await sleep("5m")`: it is durable and holds no worker.',
            ("time.sleep",),
        ),
        Rule(
            "W016",
            "leaves its event loop for threads, processes or another loop",
            "Put that code in a plain `def` @step: workers run those on threads.",
            (
                "asyncio.to_thread",
                "asyncio.threads.to_thread",
                "asyncio.run",
                "asyncio.runners.run",
                "asgiref.sync.sync_to_async",
                "asgiref.sync.SyncToAsync",
                "asgiref.sync.async_to_sync",
                "asgiref.sync.AsyncToSync",
                "threading.",
                "multiprocessing.",
                "concurrent.futures.",
            ),
        ),
        Rule(
            "W017",
            "catches everything, and so swallows the cancel of its run",
            "Catch Exception, or end the handler with `raise`.",
        ),
        Rule(
            "W018",
            "goes through a set, whose order differs from process to process",
            "Go through sorted(...), or use a list or a dict.",
        ),
        Rule("W019", "calls this and does not await it, so that nothing happens", "Write `await` before it."),
        Rule("W020", "calls what would block it", "See the hint of the call."),
        Rule(
            "W021",
            "reads settings or the environment, which the next process may see otherwise",
            "Read them in a @step, or pass the value as an argument of the workflow.",
            ("django.conf.settings.", "os.environ", "os.environ.", "os.getenv"),
        ),
    )
}

#: names of methods that only model instances have
ORM_METHODS = frozenset({"asave", "adelete", "refresh_from_db", "arefresh_from_db", "select_for_update"})
ORM_ATTRIBUTES = frozenset({"objects", "_default_manager", "_base_manager"})
FILE_METHODS = frozenset({"read_text", "write_text", "read_bytes", "write_bytes"})
#: calls that give an awaitable
AWAITABLE = frozenset(
    {
        "django_workflows.authoring.primitives.sleep",
        "django_workflows.authoring.primitives.race",
        "asyncio.sleep",
        "asyncio.tasks.sleep",
        "asyncio.wait",
        "asyncio.tasks.wait",
        "asyncio.wait_for",
        "asyncio.tasks.wait_for",
        "asyncio.gather",
        "asyncio.tasks.gather",
    }
)


def rule_for(path: str) -> Rule | None:
    """The rule that a dotted name breaks."""
    for rule in RULES.values():
        for forbidden in rule.paths:
            if path == forbidden or (forbidden.endswith(".") and path.startswith(forbidden)):
                return rule
    return None
