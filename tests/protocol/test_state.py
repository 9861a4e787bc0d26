"""The state table is complete: every PDU has an answer in every state (PS3.8 Table 9-10)."""

from __future__ import annotations

from dcmkit.protocol import state

STATES = {name for name, value in vars(state).items() if isinstance(value, str) and value.startswith("Sta")}


def test_every_state_answers_every_pdu() -> None:
    states = {getattr(state, name) for name in STATES}
    assert {key[0] for key in state.RECEIVED} == states
    assert len(state.RECEIVED) == len(states) * 7


def test_only_an_association_takes_data() -> None:
    takes = {key[0] for key, (action, _) in state.RECEIVED.items() if key[1] == 4 and action is state.INDICATE}
    assert takes == {state.ESTABLISHED, state.AWAITING_RELEASE_RP}


def test_issued_primitives_lead_to_known_states() -> None:
    states = {getattr(state, name) for name in STATES}
    assert {key[0] for key in state.ISSUED} | set(state.ISSUED.values()) <= states
