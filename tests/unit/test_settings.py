"""Every knob once."""

import copy
import inspect
import pickle
import traceback
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from synap_integrations import InvalidInputError, Settings, Synap
from synap_integrations.auto import launch
from synap_integrations.parsing import OFF
from synap_integrations.secret import Secret
from synap_integrations.settings import CLOUD_URL
from synap_integrations.settings_arguments import SettingsArguments

KEY = "synap_canary_key_1234567890"


def test_argument_beats_environment_beats_default() -> None:
    """The order that everybody expects."""
    environ = {"SYNAP_RECALL_TIMEOUT_S": "0.5", "SYNAP_USER_ID": "ana"}
    settings = Settings.read(environ, recall_timeout_s=0.25)
    assert (settings.recall_timeout_s, settings.user_id, settings.context_max_tokens) == (0.25, "ana", 800)


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("SYNAP_RECALL_TIMEOUT_S", "soon", "'soon' is not a number of seconds from 0 up, such as 0.15"),
        ("SYNAP_SAMPLE_RATE", "half", "'half' is not a share from 0 to 1"),
        ("SYNAP_OUTBOX_MAX_ROWS", "1.5", "'1.5' is not a whole number from 0 up"),
        ("SYNAP_GRPC_PORT", "https", "'https' is not a port"),
        ("SYNAP_RECALL_TIMEOUT_S", "-1", "from 0 up"),
        ("SYNAP_RECALL_TIMEOUT_S", "nan", "from 0 up"),
        ("SYNAP_GRPC_PORT", "99999", "1 to 65535"),
        ("SYNAP_GRPC_USE_TLS", "perhaps", "1/true/yes/on"),
        ("SYNAP_TURNS", "pigeon", "rest, stream"),
        ("SYNAP_DURABILITY", "forever", "process, power"),
        ("SYNAP_OUTBOX_MAX_ROWS", "-5", "from 0 up"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_is_accepted(variable: str, value: str, fault: str) -> None:
    """A typo in a deployment is one clear line, not a surprise at three in the morning."""
    with pytest.raises(InvalidInputError, match=fault) as refused:
        Settings.read({variable: value})
    assert variable in str(refused.value)


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt setting is not ignored."""
    with pytest.raises(InvalidInputError, match=r"unknown setting 'storage_pth': did you mean storage_path\?") as alike:
        Synap(storage_pth="/data")
    assert alike.value.details == {"argument": "storage_pth"}
    with pytest.raises(InvalidInputError, match="unknown setting 'xyz': the settings are api_key, base_url"):
        Settings.read({}, xyz=1)


def test_editors_and_type_checkers_know_every_setting() -> None:
    """The arguments of `Synap` are typed: its own by name, all others through the table of arguments."""
    own = set(inspect.signature(Synap.__init__).parameters)
    typed = SettingsArguments.__annotations__
    assert set(typed) == {row.name for row in fields(Settings)} - own
    assert Synap.__init__.__annotations__["explicit"] == "Unpack[SettingsArguments]"
    assert list(typed) == [row.name for row in fields(Settings) if row.name in typed]


def test_every_setting_is_typed_as_what_it_takes() -> None:
    """Its default, and for a choice each of the words."""
    hints = get_type_hints(SettingsArguments)
    for row in fields(Settings):
        if row.name in hints and row.default is not None:
            kinds = get_args(hints[row.name])
            words = [word for kind in kinds for word in get_args(kind) if isinstance(word, str)]
            assert row.default in words or any(isinstance(row.default, get_origin(kind) or kind) for kind in kinds)
            assert [getattr(Settings.read({}, **{row.name: word}), row.name) for word in words] == words


@pytest.mark.parametrize(
    ("environ", "embedded", "url"),
    [
        ({}, True, CLOUD_URL),
        ({"SYNAP_BASE_URL": "local", "SYNAP_API_KEY": KEY}, True, "local"),
        ({"SYNAP_API_KEY": KEY}, False, CLOUD_URL),
        ({"SYNAP_BASE_URL": "cloud"}, False, CLOUD_URL),
        ({"SYNAP_BASE_URL": "http://127.0.0.1:8787/"}, False, "http://127.0.0.1:8787"),
    ],
)
def test_the_platform_follows_from_address_and_key(environ: dict[str, str], embedded: bool, url: str) -> None:
    """No account means the embedded Synap; a key means the cloud; an address means that address."""
    settings = Settings.read(environ)
    assert settings.embedded is embedded
    assert embedded or settings.rest_url == url


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"SYNAP_API_KEY": KEY}, ("synap-cloud-prod.maximem.ai", 443, True)),
        ({"SYNAP_BASE_URL": "http://127.0.0.1:8787"}, ("127.0.0.1", 8788, False)),
        ({"SYNAP_BASE_URL": "https://synap.example"}, ("synap.example", 443, True)),
        (
            {"SYNAP_BASE_URL": "http://127.0.0.1:1", "SYNAP_GRPC_HOST": "127.0.0.1", "SYNAP_GRPC_PORT": "9",
             "SYNAP_GRPC_USE_TLS": "0"},
            ("127.0.0.1", 9, False),
        ),
    ],
)  # fmt: skip
def test_the_stream_follows_the_rest_address(environ: dict[str, str], address: tuple[str, int, bool]) -> None:
    """A local REST address never means a remote stream."""
    assert Settings.read(environ).stream_address == address


def test_everything_of_ours_is_below_the_storage_path() -> None:
    """One folder to look at, to back up, to delete."""
    assert Settings.read({"SYNAP_STORAGE_PATH": "/data"}).root == Path("/data/integrations/v1")


def test_capture_is_off_only_when_somebody_says_so() -> None:
    """A value nobody understands does not lose turns."""
    off = [Settings.capturing({"SYNAP_CAPTURE": value}) for value in ("0", "false", "Off", "no")]
    on = [Settings.capturing({"SYNAP_CAPTURE": value}) for value in ("1", "", "perhaps")] + [Settings.capturing({})]
    assert not any(off)
    assert all(on)


def test_the_launcher_knows_the_same_words_for_off() -> None:
    """`synap run` reads the variable without loading the settings, and must not read it otherwise."""
    assert len(launch._OFF) == len(OFF)
    assert set(launch._OFF) == OFF


def test_a_key_cannot_be_shown_by_accident() -> None:
    """Not by repr, str, format, vars, a traceback or a pickle; only `reveal` gives it."""
    settings = Settings.read({"SYNAP_API_KEY": KEY})
    secret = settings.api_key
    assert secret is not None
    shown = [repr(settings), str(secret), f"{secret}", repr(copy.copy(secret))]
    shown += traceback.format_exception(RuntimeError(secret))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    assert not any(KEY in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == KEY


def test_fingerprints_tell_keys_apart() -> None:
    """Two keys get two folders, and a folder's name gives no key away."""
    assert Secret("a").fingerprint() != Secret("b").fingerprint()
    assert Secret(KEY).fingerprint() == Secret(KEY).fingerprint()
    assert len(Secret(KEY).fingerprint()) == 8


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api_key": 5}, "api_key must be str, not int"),
        ({"base_url": 5}, "base_url must be str, not int"),
        ({"recall_timeout_s": [1]}, "recall_timeout_s must be int or float, not list"),
        ({"capture": object()}, "capture must be bool, not object"),
        ({"turns": 1}, "turns must be str, not int"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_name(given, says) -> None:
    """At once, and not by whatever uses it first."""
    with pytest.raises(InvalidInputError, match=says):
        Settings.read({}, **given)


def test_whom_to_forget_is_a_scope() -> None:
    """A user's id alone could be a conversation's."""
    with Synap(storage_path=":memory:") as synap, pytest.raises(InvalidInputError, match=r"Scope\(user_id=…\)"):
        synap.forget("ana")
