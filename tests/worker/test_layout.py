"""Records of earlier versions' storages are read, with every field, whatever is added or renamed in the code."""

import json
from typing import Any

import pytest

from worker.jobs.layout import Begun, Chunk, Delivery, End, Finished, Job, Record

STORED: list[tuple[type[Record], str]] = [
    (
        Job,
        '{"id":"0686m0x5sbqk8c9bvhn7g2t4dw","created":1799999940.5,"wish":{"domains":["blond","-smiling:0.5"],'
        '"model":"avatars@1","strength":1.0,"region":"auto","size":"original","format":"png","quality":90},"pictures":2,'
        '"upload":"00ff00ff00ff00ff","source":"photos/in","destination":"photos/out",'
        '"webhook":"https://example.org/hook","fingerprint":"ab","keyed":true}',
    ),
    (
        Job,
        '{"id":"a","created":1.0,"wish":{"domains":["zebra"],"model":null,"strength":1.0,"region":"auto",'
        '"size":"original","format":null,"quality":90},"pictures":1,"upload":"u","source":null,"destination":null,'
        '"webhook":null,"fingerprint":"","keyed":false}',
    ),
    (Chunk, '{"entries":[{"name":"a/b.jpg","path":"in/a/b.jpg"}]}'),
    (Begun, '{"at":1.5,"left":true}'),
    (
        Finished,
        '{"outcomes":[{"name":"a.jpg","output":"a.png","code":null,"reason":null},'
        '{"name":"b.jpg","output":null,"code":"unreadable-image","reason":"bad"}]}',
    ),
    (End, '{"state":"done","at":2.5,"done":1,"failed":1}'),
    (
        Delivery,
        '{"attempts":2,"first_at":3.0,"next_at":4.0,"status":500,"reason":"the receiver answered 500",'
        '"delivered_at":null,"dead_at":5.0}',
    ),
]


def holds(new: Any, old: Any) -> bool:
    """Whether all of the old JSON is in the new, where only fields may have been added."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


@pytest.mark.parametrize(("kind", "text"), STORED, ids=lambda value: getattr(value, "__name__", ""))
def test_records_of_earlier_versions_are_read(kind: type[Record], text: str) -> None:
    """A record of version 0.1 loads, and is stored again with the same fields and values."""
    assert holds(json.loads(kind.model_validate_json(text).bytes()), json.loads(text))
