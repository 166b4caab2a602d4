"""Decoding in a child process: the verdict is the decoder's, and a killed child is the picture's fault."""

import asyncio
import os

import pytest
from support.crashes import HONEY, POISON, SPY, examine
from support.pictures import noise, png

from worker.errors import TooLarge, UnreadableImage, UnsupportedMedia
from worker.imaging import careful
from worker.imaging.careful import Probe
from worker.settings import Limits

GOOD = png(noise(32, 32))


def test_one_light_child_tells_what_the_decoder_says() -> None:
    """Every picture goes to the same child, which has imported no runtime, and its errors come back unchanged."""

    async def test() -> None:
        probe = Probe(Limits(max_pixels=2000), examine)
        try:
            await asyncio.gather(*(probe.check(GOOD) for _ in range(3)))
            with pytest.raises(TooLarge, match="50 x 50 = 2500 pixels; the limit is 2000"):
                await probe.check(png(noise(50, 50)))
            with pytest.raises(UnreadableImage, match="truncated or corrupt"):
                await probe.check(GOOD[:100])
            with pytest.raises(UnsupportedMedia):
                await probe.check(b"text")
            seen = []
            for _ in range(2):
                with pytest.raises(TooLarge) as error:
                    await probe.check(SPY)
                seen.append(str(error.value).split(" "))
        finally:
            probe.close()
        assert seen[0] == seen[1]
        assert seen[0][0] != str(os.getpid())
        assert seen[0][1] == ""

    asyncio.run(test())


def test_a_picture_that_kills_the_child_is_unreadable() -> None:
    """Only the picture that killed the child fails, the next one gets a new child; closing ends a check under way."""

    async def test() -> None:
        probe = Probe(Limits(), examine)
        try:
            with pytest.raises(UnreadableImage, match="crashes its decoder"):
                await probe.check(POISON)
            await probe.check(GOOD)
            checking = asyncio.ensure_future(probe.check(HONEY))
            while not probe._turn.locked():
                await asyncio.sleep(0)
            probe.close()
            with pytest.raises(RuntimeError, match="was closed"):
                await checking
        finally:
            probe.close()

    asyncio.run(test())


def test_a_picture_that_holds_the_child_up_is_unreadable() -> None:
    """A picture that takes longer than it may is unreadable."""

    async def test() -> None:
        probe = Probe(Limits(), examine, patience_s=0.1)
        try:
            with pytest.raises(UnreadableImage, match="crashes its decoder"):
                await probe.check(HONEY)
        finally:
            probe.close()

    asyncio.run(test())


def test_a_child_that_never_starts_blames_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the child can't be started at all, no picture is blamed."""
    monkeypatch.setattr(careful, "_READY", b"another word")

    async def test() -> None:
        probe = Probe(Limits(), examine)
        with pytest.raises(RuntimeError, match="did not start"):
            await probe.check(GOOD)
        probe.close()

    asyncio.run(test())
