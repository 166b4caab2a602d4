"""Limits on pictures, and how the engine runs; the worker's only module that reads the environment (`RECAST_*`)."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Limits(BaseModel):
    """What one uploaded picture may be; anything above is TooLarge."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_bytes: Annotated[int, Field(ge=1)] = 20 * MIB
    """Bytes of one picture as uploaded."""
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    """Width times height, read from the header before anything is decoded."""
    max_frames: Annotated[int, Field(ge=1)] = 1
    """Frames of an animation or pages; where more are allowed, the first is translated."""
    max_side: Annotated[int, Field(ge=1)] = 16_384
    """Width or height in pixels; the longest side that every output format can hold is 16383 (WebP)."""


class EngineSettings(BaseSettings):
    """How bundles run; each field is an environment variable of the same name, upper case, with `RECAST_` before it."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="RECAST_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda:\d+)$")] = "auto"
    """`cpu`, `cuda:N`, or `auto`: the first GPU where one works, else the CPU."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of one inference, and of decoding; 0: every core this process may use."""
    max_batch: Annotated[int, Field(ge=1)] = 16
    """Pictures in one inference, at most."""
    max_wait_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Milliseconds that an idle device waits for company from the arrival of the oldest picture."""
    max_queue: Annotated[int, Field(ge=1)] = 256
    """Pictures that may wait; one more is answered 503 at once."""
    cache_bytes: Annotated[int, Field(ge=1)] = 2048 * MIB
    """Bytes of graphs that stay loaded; beyond, the least recently used bundle is unloaded."""
