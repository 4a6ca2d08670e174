"""Requests to webhooks: each is an event of the run that owns the token, committed before its caller gets an answer.

::

    delivery   find the webhook, check signature and size, record the request
    calls      callers held for a manual response: the first answer wins, none comes after the 504

What a request and a response are stands in ``authoring.http``, signatures in ``authoring.signatures``. The wait for a
step's answer is in ``api.webhooks``, the HTTP view in ``rest.webhooks``.
"""
