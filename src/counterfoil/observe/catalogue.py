"""The closed list of events: a name that is not here cannot be emitted.

To add one: write a constant below (those of the write path stand in `catalogue_writing`), named like its event (`pull.finished` is `PULL_FINISHED`), emit it somewhere, and
run `python -m counterfoil.observe.events > docs/events.md`. Keyword arguments are its fields, each with its meaning.
Durations are seconds. Never a password, a token, a name, an e-mail address or a body, in no field of no event.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from counterfoil.observe.event import REASON, RETRY, Event, event

# --- daemon ---------------------------------------------------------------------------------------------------------

DAEMON_STARTED = event(
    "daemon.started",
    "info",
    "The process has read its configuration and begins to work.",
    version="version of Counterfoil",
    platforms="names of the configured platforms",
)
DAEMON_READY = event(
    "daemon.ready",
    "info",
    "Database reachable, schema right, every platform logged in or in a known pause: /readyz answers 200.",
)
DAEMON_STOPPING = event(
    "daemon.stopping",
    "info",
    "A signal asked for the end; no new work is taken, what is in flight finishes.",
    signal="name of the signal",
)
DAEMON_STOPPED = event(
    "daemon.stopped",
    "info",
    "The last line of a process that ended in order.",
    "When not clean: nothing is lost, interrupted pulls resume; look for what was slow.",
    clean="true when everything in flight had finished in time",
    seconds="seconds from the signal to the end",
)

# --- config ---------------------------------------------------------------------------------------------------------

CONFIG_RELOADED = event(
    "config.reloaded",
    "info",
    "SIGHUP: the file was read again and is in force.",
    changed="key paths whose value changed, never the values",
)
CONFIG_REJECTED = event(
    "config.rejected",
    "error",
    "SIGHUP: the file is invalid; the settings in force stay as they were.",
    "Mend the file (`counterfoil check --offline` says more), then send SIGHUP again.",
    reason=REASON,
)

# --- database and schema --------------------------------------------------------------------------------------------

DATABASE_UNREACHABLE = event(
    "database.unreachable",
    "error",
    "PostgreSQL does not answer; nothing is pulled, and it is tried again by itself.",
    "Look after PostgreSQL or the network to it; the daemon needs no restart.",
    reason=REASON,
    retry_in=RETRY,
)
DATABASE_RECOVERED = event(
    "database.recovered",
    "info",
    "PostgreSQL answers again; pulls go on from their stored positions.",
    seconds="seconds that it was unreachable",
)
SCHEMA_MIGRATED = event(
    "schema.migrated",
    "info",
    "The database schema was brought to the revision of this version.",
    from_revision="revision before, null for an empty database",
    to_revision="revision now",
)
SCHEMA_INDEX_MISSING = event(
    "schema.index_missing",
    "warning",
    "The index of an account's figures was left out of a first reading, and could not be built.",
    "Run `counterfoil migrate` as the owner of the tables; until then figures of accounts are slow.",
    reason=REASON,
)
SCHEMA_REFUSED = event(
    "schema.refused",
    "critical",
    "The database is newer than this version, or another program's; nothing in it was touched.",
    "Run the version that fits the database, or correct `database.url`.",
    reason=REASON,
)

# --- platform -------------------------------------------------------------------------------------------------------

PLATFORM_LOGGED_IN = event(
    "platform.logged_in",
    "info",
    "The platform accepted the login.",
    account_id="the platform's id of the account that logged in",
    scope="what the login may do, as the platform says it",
    expires_in="seconds until the session must be renewed",
    sandbox="true when the platform is a sandbox",
)
PLATFORM_LOGIN_FAILED = event(
    "platform.login_failed",
    "error",
    "The platform refused the login or did not answer it.",
    "Check user name and password file of this platform; `counterfoil check` says which step fails.",
    reason=REASON,
)
PLATFORM_MISCONFIGURED = event(
    "platform.misconfigured",
    "error",
    "A setting of this platform is wrong; it is left alone, the other platforms go on.",
    "Mend the setting and send SIGHUP; `counterfoil check` tries it out.",
    reason=REASON,
    retry_in=RETRY,
)
PLATFORM_PAUSED = event(
    "platform.paused",
    "warning",
    "The platform failed repeatedly; it is left alone for a while, the other platforms go on.",
    "None for a short pause; when pauses grow, ask the platform's operator.",
    reason=REASON,
    seconds="length of the pause in seconds",
    failures="failures in a row so far",
)
PLATFORM_RESUMED = event("platform.resumed", "info", "The pause is over and the platform answers again.")
PLATFORM_RATE_LIMITED = event(
    "platform.rate_limited",
    "warning",
    "The platform answered that it is asked too often; nothing is sent to it until it allows that.",
    "When it recurs, lower `rate_limit` of this platform.",
    retry_after="seconds that the platform asked to wait, null when it did not say",
)
PLATFORM_UNEXPECTED = event(
    "platform.unexpected",
    "error",
    "The platform does something that its interface does not promise; the piece of work stopped.",
    "Report it with this line: the mirror may need to learn a variant of the interface.",
    reason=REASON,
)

# --- pull -----------------------------------------------------------------------------------------------------------

PULL_STARTED = event("pull.started", "debug", "A pull of one resource begins.")
PULL_FINISHED = event(
    "pull.finished",
    "info",
    "A pull of one resource is complete; the mirror holds what the platform held.",
    requests="requests sent to the platform",
    seen="rows read",
    inserted="rows that are new in the mirror",
    changed="rows that were different in the mirror",
    deleted="rows that got a tombstone",
    quarantined="records that could not be read",
    lag="how old the mirror had become before it was written, in seconds; null for the first",
    age="how old the mirror is now, in seconds: what it shows is what the platform held then, or later",
    interval="seconds between two runs that are wanted from now on; null: these settings do not pull it by itself",
    duration="seconds",
)
PULL_PROGRESSED = event(
    "pull.progressed",
    "info",
    "A long reading made room for others; it goes on where it stopped.",
    done="share of it that is done, 0 to 1; null: the platform does not tell how much there is",
    requests="requests sent to the platform",
    seen="rows read",
    inserted="rows that are new in the mirror",
    changed="rows that were different in the mirror",
    duration="seconds",
)
PULL_FAILED = event(
    "pull.failed",
    "warning",
    "A pull stopped early; its pages so far are kept and it resumes by itself.",
    "None when it resumes; `kind` configuration or invariant wants a person.",
    reason=REASON,
    kind="what follows: transient, permanent, configuration, invariant",
    retry_in=RETRY,
)
PULL_SKIPPED = event("pull.skipped", "debug", "A pull was due and did not run.", reason="why, in one line")
PULL_INTERRUPTED = event(
    "pull.interrupted", "info", "A pull was told to end by a shutdown or a reload; it resumes at its stored position."
)

# --- mirror ---------------------------------------------------------------------------------------------------------

RECORD_QUARANTINED = event(
    "record.quarantined",
    "warning",
    "A record could not be read; its text is in counterfoil.quarantine, the rest of its page was kept.",
    "Look at the row in counterfoil.quarantine; report a shape that the interface does not document.",
    record_id="the platform's id, null when that is what is missing",
    reason=REASON,
    count="records with this reason in this pull",
)
PAGE_SHIFTED = event(
    "page.shifted",
    "debug",
    "The listing moved while it was read; the page was read again with overlap.",
    offset="offset of the page in rows",
)
LISTING_INCOMPLETE = event(
    "listing.incomplete",
    "warning",
    "A full listing could not be read to its end; nothing is declared deleted on its strength.",
    "None when the next pull is complete; else ask the platform's operator.",
    reason=REASON,
)
LISTING_CAPPED = event(
    "listing.capped",
    "warning",
    "The platform cuts this listing at a number of rows; what lies beyond cannot be read, and the pull fails until it can.",
    "Ask the platform's operator to lift the limit.",
    rows="rows that came",
    highest_id="highest id among them",
)
DELETIONS_HELD_BACK = event(
    "deletions.held_back",
    "error",
    "A large share of a table vanished at once on the platform; the rows were kept as they are.",
    "When it is true: `counterfoil sync --full --accept-deletions RESOURCE`. When not: ask the platform's operator.",
    vanished="rows that are missing on the platform",
    live="rows of the mirror without a tombstone, before",
    share="vanished / live, 0 to 1",
)
DELETIONS_ACCEPTED = event(
    "deletions.accepted",
    "info",
    "Rows that had been held back got their tombstones because an operator said so.",
    deleted="rows that got a tombstone",
)
POSITION_UNRESOLVED = event(
    "position.unresolved",
    "warning",
    "A position left the open listing and is not in the history; it is looked for again.",
    "None at first; when `looks` keeps growing, ask the platform's operator about this position.",
    record_id="the platform's id of the position",
    looks="times it was looked for",
)
ORDER_UNRESOLVED = event(
    "order.unresolved",
    "warning",
    "An order left the live listing and is not in the history; it is looked for again.",
    "None at first; when `looks` keeps growing, ask the platform's operator about this order.",
    record_id="the platform's id of the order",
    looks="times it was looked for",
)
SWEEP_PROGRESS = event(
    "sweep.progress",
    "info",
    "A full comparison is under way.",
    done="share that is done, 0 to 1",
    rows="rows compared so far",
)
SWEEP_FINISHED = event(
    "sweep.finished",
    "info",
    "A full comparison is complete.",
    late="rows that only the sweep found",
    deleted="rows that got a tombstone",
)
LEASE_LOST = event(
    "lease.lost",
    "warning",
    "Another replica took this work over; what was not committed is dropped and done there.",
    "None when rare; when frequent, this process or its database is too slow for its leases.",
    holder="the replica that holds it now, null when not known",
)
SYMBOLS_RENAMED = event(
    "symbols.renamed",
    "info",
    "Symbols have new names; rows of the mirror that carry the name were updated.",
    count="symbols",
)
TRANSACTIONS_INFERRED = event(
    "transactions.inferred",
    "info",
    "Money moved on accounts that neither deals nor operations of ours explain; the mirror holds it as inferred transactions.",
    "None after a first reading. Later on, `counterfoil audit` says when one looks like an operation of ours.",
    inferred="transactions that were inferred",
    withdrawn="earlier ones that something late explains, now deleted",
)
OPERATION_RECORD_TAKEN = event(
    "operation.record_taken",
    "error",
    "The platform named a record for an operation of ours under which the mirror holds another transaction; nothing was "
    "overwritten, the operation got an id of our own.",
    "Compare both with the platform's own books: `counterfoil intents show REFERENCE`.",
    record_id="the platform's id of both",
)

# --- stream ---------------------------------------------------------------------------------------------------------

STREAM_CONNECTED = event(
    "stream.connected",
    "info",
    "The platform's event stream is open; polls go on as before until it has caught up and brought something.",
    groups="groups that it was subscribed to",
)
STREAM_CAUGHT_UP = event(
    "stream.caught_up",
    "info",
    "Everything that the stream may have missed was polled; once it has brought an event, polls slow down.",
    seconds="seconds since it was opened",
)
STREAM_WRITTEN = event(
    "stream.written",
    "debug",
    "A batch of events is in the mirror.",
    events="events heard since the batch before, doubled and outdated ones too",
    inserted="rows that are new in the mirror",
    changed="rows that were different in the mirror",
    quarantined="records that could not be read",
    lag="seconds from when the oldest of them was heard until all were committed",
)
STREAM_ENDED = event(
    "stream.ended",
    "warning",
    "The stream is over; polls go on at their usual rate and bring what it misses, and it is opened again by itself.",
    "None when it is rare. When it recurs, ask the platform's operator, or set `stream: false`: nothing is lost by that.",
    reason=REASON,
    retry_in=RETRY,
)
STREAM_CLOSED = event(
    "stream.closed", "debug", "The stream was closed, for whatever reason.", seconds="seconds that it was open"
)
STREAM_RENEWED = event(
    "stream.renewed", "info", "The session was renewed; the stream is opened again with the new one."
)
STREAM_GARBLED = event(
    "stream.garbled",
    "warning",
    "The stream brought something that cannot be understood, or a complaint; said once a connection, and left out.",
    "Report it with this line: the mirror may need to learn a variant of the interface. Polls bring what it told.",
    reason=REASON,
)

# --- process --------------------------------------------------------------------------------------------------------

HTTP_LISTENING = event(
    "http.listening",
    "info",
    "/healthz, /readyz and /metrics are served.",
    host="address that it listens on",
    port="port, the real one when 0 was configured",
)
LIBRARY_LOGGED = event(
    "library.logged",
    "warning",
    "A library that Counterfoil uses warned of something.",
    "None when rare; report a line that recurs.",
    logger="name of the library's logger",
    message="its own words, in one line",
    error="class and message of the exception that came with it, null when none did",
)
LIBRARY_FAILED = event(
    "library.failed",
    "error",
    "A library that Counterfoil uses reported an error.",
    "Report it with this line unless an event next to it explains it.",
    logger="name of the library's logger",
    message="its own words, in one line",
    error="class and message of the exception that came with it, null when none did",
)

# One list of events, in two files of readable length.
from counterfoil.observe.catalogue_writing import *  # noqa: E402, F403 - they stand behind these in the documents

EVENTS: Final[Mapping[str, Event]] = MappingProxyType(
    {one.name: one for one in tuple(globals().values()) if isinstance(one, Event)}
)
"""Every event by its name."""
