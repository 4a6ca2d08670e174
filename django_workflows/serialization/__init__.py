"""Tagged JSON: how arguments, results, payloads and errors are written down and read back.

::

    value ──dumps──▶ Encoded (ASCII JSON text) ──loads──▶ an equal copy

What JSON has is written as JSON. Everything else is an object with the key ``"$"``, which names the tag, and ``"v"``,
the content in JSON (tags nest)::

    Decimal("9.90")                    {"$":"decimal","v":"9.90"}
    (1, 2)                             {"$":"tuple","v":[1,2]}
    Colour.RED                         {"$":"enum","c":"shop.models:Colour","v":"RED"}
    {1: "a"}, or a dict with key "$"   {"$":"dict","v":[[1,"a"]]}

::

    codec            the two directions, their fast paths, the canonical form
    registration     the table of types and tags; register_type()
    tags             the standard library's types, and classes found by name
    pydantic_models  models, where pydantic is installed
    refusals         what to pass instead of what cannot be written
    failures         exceptions as data, and back
    encryption       what lies between encoded text and the database
    columns          payload columns as they are stored, undecoded
    display          encoded text for people: pages, terminals, messages
    plain_json       encoded text as JSON for the wire

``columns`` and ``encryption`` know Django; nothing that the engine imports does.

The encoding of a value does not depend on what surrounds it, nor on hash seeds, settings or time: equal text means
equal value, and :func:`canonical` makes equal values equal text whatever the order of their keys. Nothing is ever
pickled; reading looks up classes by name, but builds only enums, dataclasses, named tuples, pydantic models, and
what was registered.
"""

from . import pydantic_models, tags  # noqa: F401  (they fill the table)
from .codec import canonical, dumps, loads, size
from .failures import decode_error, encode_error
from .registration import MAX_DEPTH, Encoded, register_type

__all__ = [
    "MAX_DEPTH",
    "Encoded",
    "canonical",
    "decode_error",
    "dumps",
    "encode_error",
    "loads",
    "register_type",
    "size",
]
