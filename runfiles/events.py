"""The words that a recording is written with: phases, statuses, what ended a run, replicas and their events, faults."""

from __future__ import annotations

WARM_UP = "warm-up"
MEASURED = "measured"
SETTLING = "settling"
DISTURBED = "disturbed"
WAITING = "waiting"
PHASES = (WARM_UP, MEASURED, SETTLING, DISTURBED, WAITING)
"""The phases of a run. Only rows of the phase ``MEASURED`` enter a figure.

The last three are those of a load in blocks: ``SETTLING`` is the beginning and the end of a block; ``DISTURBED`` is a
block that was repeated because other programs took the CPU; ``WAITING`` is the time in which the load visits other
deployments, or none.
"""

BLOCKS = "blocks"
TURNS = "turns"
LAYOUTS = (BLOCKS, TURNS)
"""How the deployments of a round are measured: all run at once and the load visits them in short blocks; or one after
another, each started for its turn."""

PRECISE = "precision"
BUDGET = "budget"
STOPPED_BY = (PRECISE, BUDGET)
"""Why no further round was measured: all pairs were precise enough, or the time was up. None: as many rounds as the
plan says, or the experiment has not ended."""

STATUS_MEASURED = "measured"
FAILED = "failed"
NOT_RUN = "not run"
STATUSES = (STATUS_MEASURED, FAILED, NOT_RUN)
"""The statuses of a round: both runs are whole; it was begun and broke, or was cut off; it was never begun. A
deployment is measured if one of its rounds is, else failed if one of them failed, else not run."""

CUT_OFF = "the experiment was cut off while this round ran"
"""The reason of a round that is called failed only because it was interrupted."""

RUN_TIME = "run time"
ENOUGH_REQUESTS = "number of requests"
ALL_TEXTS = "all texts sent"
ALL_BLOCKS = "all blocks"
STOPPED = "stopped"
INTERRUPTED = "interrupted"
"""What ended a run (``ended_by``): its run time; as many requests as were asked for; a single pass that sent all its
texts; a load in blocks that made all its visits; a person in the web UI, or that no user was left; Ctrl-C or SIGTERM.
None: it was killed, or still runs."""

CONSTANT = "constant"
POISSON = "poisson"
ARRIVALS = (CONSTANT, POISSON)
"""How the requests of an open workload are due: at a constant distance, or as a Poisson process."""

KEPT = "kept"
NEW = "new"
CONNECTIONS = (KEPT, NEW)
"""How an open workload connects: over kept connections, of which as many are open as requests are unanswered at once;
or each request over one of its own."""

LATE_MS = 10.0
"""A request of an open workload that was sent later than this after it was due is late."""

DROPPED = "dropped"
OVER_BOUND = "over bound"
UNANSWERED = "unanswered"
UNSENT = (DROPPED, OVER_BOUND, UNANSWERED)
"""What may become of an arrival instead of a row: never sent, as the load generator was more than 1 s behind; never
sent, as too many requests were unanswered; sent, and unanswered when the run ended."""

AUTO = "auto"
NO_REPLICAS = "none"
"""What ``replicas.asked`` may be, besides KIND:NAME: whatever serves at the host; nothing."""

PROCESS = "process"
CONTAINER = "container"
COMPOSE_SERVICE = "compose"
SWARM_SERVICE = "swarm"
REPLICA_KINDS = (CONTAINER, COMPOSE_SERVICE, SWARM_SERVICE, PROCESS)
"""The kinds of replicas: KIND in the KIND:NAME of ``replicas.asked`` and ``replicas.found``."""

FOUND = "found"
STARTED = "started"
RESTARTED = "restarted"
ENDED = "ended"
NOT_SAMPLED = "not sampled"
SAMPLED_AGAIN = "sampled again"
ENGINE_SILENT = "engine does not answer"
ENGINE_ANSWERS = "engine answers again"
"""What becomes of a replica, and the last two of the Docker engine: the column ``event`` of ``REPLICA_EVENTS_COLUMNS``,
which explains them."""

KILL = "kill"
STOP = "stop"
PAUSE = "pause"
RESUME = "resume"
SCALE = "scale"
UPDATE = "update"
CPU = "cpu"
DRAIN = "drain"
DRAIN_OVER = "drain over"
SPIKE = "spike"
SPIKE_OVER = "spike over"
PLANNED = (KILL, STOP, PAUSE, SCALE, UPDATE, CPU, DRAIN, SPIKE)
ENDS = {PAUSE: RESUME, DRAIN: DRAIN_OVER, SPIKE: SPIKE_OVER}
ACTIONS = (*PLANNED, *ENDS.values())
"""What a plan may change while the load goes on: end a replica at once (SIGKILL) or as ``docker stop`` does; halt it,
and let it go on after some seconds (``RESUME``); another number of replicas; all replicas anew, one after another;
another CPU limit of each replica; for some seconds no tasks on the node of a swarm, or a higher rate of the load.
``ENDS``: those that end by themselves -> what ends them."""

ROWS_LOST = "rows lost"
INCOMPLETE = "incomplete"
UNSAMPLED = "unsampled"
CLOCK = "clock"
OPTION = "option"
FAULTS = {
    ROWS_LOST: "rows are not in their file, or were lost with a worker",
    INCOMPLETE: "the single pass sent fewer texts than there are, or a load in blocks went on without some users",
    UNSAMPLED: "a replica answered that was not sampled",
    CLOCK: "a Locust worker's clock differs from the master's, or the machine's clock was set meanwhile; all times are "
    "by the master's clock as it was before",
    OPTION: "an option could not be used as it was given (another value was used), or was changed during the load",
}
"""What can be wrong with a recording -> what that means. ``PREFIX_run.json`` lists each one that happened under
``faults``, as ``{"kind": one of these, "text": what happened, in one sentence}``. The analysis decides which of them
make a run invalid."""

RECORDING_FAILED_EXIT_CODE = 4
"""Locust's exit code when the recording could not be written, whatever became of the requests."""
