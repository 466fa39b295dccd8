"""Users' commands that need fleet locks: they queue like runs, and this host asks the fleet after it has admitted them.

While the fleet is unreachable, these commands wait outside the queue.
"""

from __future__ import annotations

from jobqueued.core.runs.host_hold import halt
from jobqueued.core.state.holders import PARKED, LockClient
from jobqueued.core.state.turn import Turn
from jobqueued.core.with_lock import lock_clients
from jobqueued.model.commands import Ask, ForgetLockClient, GiveBack
from jobqueued.model.events import Denied, Granted
from jobqueued.model.run import WITH_LOCK, LockClientId
from jobqueued.queue.locks import of_fleet


def grant(turn: Turn, name: LockClientId) -> None:
    """Grant an admitted client its claims; if some claims are on fleet locks, first hold all claims on this host and
    ask the fleet.
    """
    state, client = turn.state, turn.state.lock_clients[name]
    state.leave_queue(name)
    if not of_fleet(client.claims):
        lock_clients.begin(turn, name)
        return
    if state.fleet.down:
        _park(turn, name)
        return
    state.admission.hold(name, client.claims, None)
    number = state.fleet.question(wanted := of_fleet(client.claims))
    state.lock_clients[name] = client._replace(question=number)
    turn.do(Ask(name, name.key, state.admission.locks.parts(wanted), number, 0))


def granted(turn: Turn, name: LockClientId, event: Granted) -> None:
    """Grant a client its claims after the fleet granted them."""
    client = _answered(turn, name, event.number)
    if client is None:
        return
    if halt(turn.state):
        turn.do(GiveBack(WITH_LOCK, name.key))
        _wait_on(turn, name, client)
        return
    for leave in turn.state.fleet.had_turn(client.claims):
        turn.do(leave)
    lock_clients.begin(turn, name, event.grant)


def denied(turn: Turn, name: LockClientId, event: Denied) -> None:
    """Let a client wait because other hosts hold its claims."""
    client = _answered(turn, name, event.number)
    if client is not None:
        _wait_on(turn, name, client)


def ours(turn: Turn, key: str) -> None:
    """Give a client's claims back to the fleet if the client's process ended, or if it waits without an open
    question.
    """
    client = next((client for name, client in turn.state.lock_clients.items() if name.key == key), None)
    if client is None or (client.ticket and client.question <= 0):
        turn.do(GiveBack(WITH_LOCK, key))


def lock_anew(turn: Turn, number: int) -> None:
    """Re-request, with this question number, the locks that clients hold, because the fleet may have freed them during
    a long absence.
    """
    for name, client in turn.state.lock_clients.items():
        if not client.ticket and (wanted := of_fleet(client.claims)):
            turn.do(Ask(name, name.key, turn.state.admission.locks.parts(wanted), number, 0))


def reachability_changed(turn: Turn) -> None:
    """Move the clients with open questions out of the queue; if the fleet is reachable, requeue them."""
    state = turn.state
    for name, client in list(state.lock_clients.items()):
        if client.question > 0:
            _answered(turn, name, client.question)
            _park(turn, name)
        if state.lock_clients.get(name, client).question == PARKED and not state.fleet.down:
            _wait_on(turn, name, client)


def _answered(turn: Turn, name: LockClientId, number: int) -> LockClient | None:
    """Release the claims of the client that an answer is about; return the client, or None if the question was
    withdrawn.
    """
    state = turn.state
    client = state.lock_clients.get(name)
    if client is None or not client.question or client.question != number:
        return None
    state.fleet.answered_part(of_fleet(client.claims))
    state.admission.release(name)
    client = state.lock_clients[name] = client._replace(question=0)
    return client


def _wait_on(turn: Turn, name: LockClientId, client: LockClient) -> None:
    if client.at_once:
        _refuse(turn, name)
    else:
        turn.state.lock_clients[name] = client._replace(question=0)
        lock_clients.enqueue(turn, name)


def _park(turn: Turn, name: LockClientId) -> None:
    client = turn.state.lock_clients[name]
    if client.at_once:
        _refuse(turn, name)
    else:
        turn.state.lock_clients[name] = client._replace(question=PARKED)


def _refuse(turn: Turn, name: LockClientId) -> None:
    """Refuse a client that must not wait."""
    client = turn.state.lock_clients.pop(name)
    down = turn.state.fleet.down
    reason = f"its fleet is unreachable: {down}" if down else lock_clients.keeps_waiting(turn, client.claims)
    turn.refuse(client.ticket, "Refused", reason=reason)
    turn.do(ForgetLockClient(name))
    turn.do(GiveBack(WITH_LOCK, name.key))
