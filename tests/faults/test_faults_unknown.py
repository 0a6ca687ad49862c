"""A lost answer where the conversation cannot be read back: sent again, or held until somebody decides."""

import pytest
from socket_platform import LOSE, Answer

from synap_integrations import Scope, Synap
from synap_integrations.cli import main
from synap_integrations.model import UserMessage

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")
LISTING = f"/v1/conversations/{SCOPE.conversation_id}/messages"


@pytest.mark.parametrize("on_unknown", ["send", "hold"])
def test_a_turn_of_unknown_outcome_is_sent_again_or_held(synap_platform, on_unknown, monkeypatch, capsys) -> None:
    """Held, it is shown, does not stop what follows, and goes out when somebody says so."""
    synap_platform.dedupes = False
    synap_platform.answers[LISTING] = Answer(404, body={"detail": "there is no such thing"})
    synap_platform.rest_script += [LOSE]
    address = synap_platform.address
    with Synap(**address, on_unknown=on_unknown) as synap:
        synap.record(UserMessage("first"), scope=SCOPE)
        synap.record(UserMessage("second"), scope=SCOPE)
        assert synap.flush(20)
        status = synap.status()
    held = on_unknown == "hold"
    assert (status.dead_letters, status.held, status.delivered) == ((1, 1, 1) if held else (0, 0, 2))
    assert synap_platform.contents() == (["first", "second"] if held else ["first", "first", "second"])
    if held:
        names = {"api_key": "API_KEY", "base_url": "BASE_URL", "grpc_host": "GRPC_HOST", "grpc_port": "GRPC_PORT"}
        for name, variable in names.items():
            monkeypatch.setenv(f"SYNAP_{variable}", str(address[name]))
        monkeypatch.setenv("SYNAP_GRPC_USE_TLS", "0")
        monkeypatch.setenv("SYNAP_ON_UNKNOWN", "hold")
        assert main(["outbox", "ls", "--json"]) == 0
        assert '"state": "held"' in capsys.readouterr().out
        assert main(["outbox", "retry", "--timeout", "20"]) == 0
        assert "1 delivered" in capsys.readouterr().out
        assert synap_platform.contents() == ["first", "second", "first"]
