"""The settings of the service; each field is an environment variable RECAST_NAME, or a line of `.env`."""

from typing import Annotated

import limits
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.settings import Limits

_DEFAULTS = Limits()


class ServiceSettings(BaseSettings):
    """The settings of the HTTP service; ValidationError names the wrong variable."""

    model_config = SettingsConfigDict(
        env_prefix="RECAST_", env_file=".env", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every network, where keys are advisable."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """TCP port; 0: any free one."""
    max_bytes: Annotated[int, Field(gt=0)] = _DEFAULTS.max_bytes
    """Longest picture file, in bytes."""
    max_pixels: Annotated[int, Field(gt=0)] = _DEFAULTS.max_pixels
    """Largest picture, width times height."""
    max_frames: Annotated[int, Field(gt=0)] = _DEFAULTS.max_frames
    """Most frames of an animated picture; the first one is translated."""
    max_side: Annotated[int, Field(gt=0)] = _DEFAULTS.max_side
    """Longest side of a picture in pixels."""
    deadline_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """Longest time for one picture in seconds, its upload included."""
    # NoDecode: pydantic-settings would parse the variable as JSON.
    keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Comma-separated keys, any of which opens the service; none: it is open to everybody."""
    rate: str | None = None
    """Most translations and jobs of each key or client address, as in "60/minute"; none: no limit."""
    docs: bool = True
    """Whether /docs and /openapi.json are served."""

    @field_validator("keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [key for part in value.split(",") if (key := part.strip())] if isinstance(value, str) else value

    @field_validator("rate")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if not value:
            return None
        message = f"{value!r} is not a rate; write it as in '60/minute' or '5/second'"
        try:
            rate = limits.parse(value)
        except ValueError:
            raise ValueError(message) from None
        if rate.amount < 1:
            raise ValueError(message)
        return value

    def limits(self) -> Limits:
        """The limits of one picture."""
        return Limits(
            max_bytes=self.max_bytes, max_pixels=self.max_pixels, max_frames=self.max_frames, max_side=self.max_side
        )
