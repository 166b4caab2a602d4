"""Limits on pictures, how the engine runs, where jobs lie; the worker's only module that reads the environment."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

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


class Settings(BaseSettings):
    """Each field is an environment variable of its name, upper case, with `RECAST_` before it, or a line of `.env`."""

    # extra: a .env file may hold variables of other programs.
    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="RECAST_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class EngineSettings(Settings):
    """How bundles run."""

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


class JobSettings(Settings):
    """Where jobs lie and how many pictures they may have."""

    storage: str = "storage"
    """Where jobs are kept: a folder, or a URL such as s3://bucket/folder."""
    # NoDecode: pydantic-settings would read the variable as JSON.
    roots: Annotated[dict[str, str], NoDecode] = {}
    """Comma-separated NAME=FOLDER or NAME=URL that jobs may read from and write to, by `source` and `destination`."""
    job_pictures: Annotated[int, Field(ge=1)] = 100_000
    """Pictures of one job, at most."""
    job_bytes: Annotated[int, Field(ge=1)] = 10 * 1024 * MIB
    """Bytes of one job's upload, and of what its ZIP holds, at most."""
    job_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 7.0
    """Days that a job is kept after its end, and that an open one waits for a bundle, domain or folder that is gone."""
    webhook_secret: SecretStr | None = None
    """Key that signs webhooks, as `whsec_` and base64, or old and new with a space between; none: no webhooks."""
    webhook_private: bool = False
    """Whether webhooks may go to private addresses, and by plain http."""

    @field_validator("roots", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if bad := [name for name, _, where in pairs if not where or not name or "/" in name]:
            raise ValueError(f"{bad[0]!r} is not NAME=FOLDER")
        return {name: where for name, _, where in pairs}


class QueueSettings(Settings):
    """How service and workers meet."""

    broker: str | None = None
    """redis:// or rediss:// URL where service and workers meet; none: everything runs in the service's process."""
    max_in_flight: Annotated[int, Field(ge=1)] = 1024
    """Pictures that all services together may have under way with the workers; one more is answered 503 at once."""
    bulk: Annotated[int, Field(ge=1)] = 2
    """Chunks of jobs that one worker does at a time."""
    stuck_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    """Seconds that one batch may run before the worker takes its device for stuck and exits."""
    drain_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """Seconds that a worker has to finish its work when it is told to stop."""
    worker_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """TCP port on which a worker answers /healthz and /metrics; 0: none."""


class OperationsSettings(Settings):
    """Logs and traces."""

    log_format: Literal["text", "json"] = "text"
    """How `recast serve` and `recast work` log: `text` for people, or `json`, one object a line."""
    traces: Annotated[str, StringConstraints(pattern=r"^https?://[^/]")] | None = None
    """Where traces go, by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; none: no traces."""
