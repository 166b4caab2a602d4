"""Log lines: their two forms, and the ids in them."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from worker import logs
from worker.logs import JsonLines, TextLines, set_ids


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger that no other code uses."""
    logger = logging.Logger("worker.test")
    yield logger
    logger.handlers.clear()


def written(logger: logging.Logger, formatter: logging.Formatter) -> io.StringIO:
    """Collects what the logger writes in this form."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    return stream


def test_a_json_line_is_one_object(log: logging.Logger) -> None:
    """Time with its zone, level, logger and message are in one line, whatever the message contains."""
    stream = written(log, JsonLines())
    log.warning("two\nlines, a %s and ünïcode", '"quote"')
    (line,) = stream.getvalue().splitlines()
    read = json.loads(line)
    assert datetime.fromisoformat(read.pop("time")).utcoffset() is not None
    message = 'two\nlines, a "quote" and ünïcode'
    assert read == {"level": "WARNING", "logger": "worker.test", "message": message}


def test_an_exception_stays_in_its_line(log: logging.Logger) -> None:
    """The traceback of an exception is a field of the same object."""
    stream = written(log, JsonLines())
    try:
        raise ValueError("here")
    except ValueError:
        log.exception("it failed")
    (line,) = stream.getvalue().splitlines()
    assert "Traceback" in json.loads(line)["exception"]
    assert "ValueError: here" in json.loads(line)["exception"]


def test_lines_bear_the_ids_of_their_task(log: logging.Logger) -> None:
    """A task's lines have its own ids and those of the task that started it, and no others."""
    stream = written(log, JsonLines())

    async def work(job_id: str) -> None:
        set_ids(job_id=job_id)
        await asyncio.sleep(0)
        log.warning(job_id)

    async def request() -> None:
        set_ids(request_id="r")
        await asyncio.gather(work("a"), work("b"))
        log.warning("end")

    asyncio.run(request())
    log.warning("outside")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    ids = {line["message"]: (line.get("request_id"), line.get("job_id")) for line in lines}
    assert ids == {"a": ("r", "a"), "b": ("r", "b"), "end": ("r", None), "outside": (None, None)}


def test_a_line_may_bear_an_id_of_its_own(log: logging.Logger) -> None:
    """A thread that works on many requests gives each line its id by `extra`."""
    stream = written(log, JsonLines())
    log.error("failed", extra={"request_id": "r"})
    log.error("failed", extra={"request_id": None})
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["request_id"] == "r"
    assert "request_id" not in second


def test_text_is_for_people(log: logging.Logger) -> None:
    """The text form has the same in one line, the ids at its end."""
    stream = written(log, TextLines())
    log.warning("late", extra={"job_id": "j"})
    log.warning("later")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" WARNING worker.test: late [job_id=j]")
    assert second.endswith(" WARNING worker.test: later")


@pytest.mark.parametrize("form", ["text", "json"])
def test_our_loggers_log_more_than_others(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The project and uvicorn log from INFO on, all others from WARNING on; all to standard error."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in logs.OURS}
    root.handlers = []  # pytest's own, which would be closed
    try:
        logs.configure(form)  # type: ignore[arg-type]
        for name in ("worker.x", "service.x", "uvicorn.access", "httpx"):
            logging.getLogger(name).info("from %s", name)
        logging.getLogger("httpx").warning("a warning")
    finally:
        root.handlers, root.level = before[:2]
        logging.captureWarnings(False)
        for name, level in before[2].items():
            logging.getLogger(name).setLevel(level)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.count("from") + 2 * line.count("a warning") for line in err.splitlines()] == [1, 1, 1, 2]
