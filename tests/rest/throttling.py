from rest_framework.throttling import ScopedRateThrottle


class OnePerMinute(ScopedRateThrottle):
    THROTTLE_RATES = {"workflows_webhook": "1/min", "workflows_start": "1/min"}
