"""What jobs are made of, as `create_app` is handed it; whoever built the parts starts and closes them."""

from dataclasses import dataclass

from worker.jobs.board import Board
from worker.jobs.intake import Intake
from worker.jobs.roots import Roots
from worker.jobs.runner import Runner
from worker.jobs.webhooks import Courier
from worker.settings import JobSettings
from worker.storage import Storage


@dataclass(frozen=True)
class Jobs:
    """The parts, each knowing only what lies before it."""

    settings: JobSettings
    storage: Storage
    roots: Roots
    intake: Intake
    board: Board
    runner: Runner
    courier: Courier
