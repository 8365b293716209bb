"""What is printed with a value in it is read by a shell and by Hydra as that value."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from data.cluster.typed_commands import command, override


def taken(text: str) -> object:
    """The value that Hydra gives to a key by an override, as the config has it."""
    parsed = OverridesParser.create().parse_override(text)
    assert not parsed.is_sweep_override()
    return OmegaConf.create({"key": parsed.value()})["key"]


@pytest.mark.parametrize("plain", ["/var/checkpoints/p-0a1b", "./var", "s3://bucket/var-1.2/x_y"])
def test_an_ordinary_path_is_left_as_it_is(plain: str) -> None:
    assert override("checkpoint", plain) == f"checkpoint={plain}"


@pytest.mark.parametrize(
    "value",
    [
        "/v/dt=2024", "/v/a,b", "/v/a(1)", "/v/Grösse", "/v/日本", "/v/it's", "/v/a#b", "/v/a&b", "/v/a b", "/v/[x]",
        "/v/{x}", "/v/$HOME", "/v/${oc.env:HOME}", '/v/"x"', "C:\\v\\", '\\"', "a\\\\", "null", "true", "1e3", "0012",
        "1,2", "choice(a)", "", " x ", "*", "~", "a\nb",
    ],
)  # fmt: skip
def test_any_text_is_taken_as_it_stands(value: str) -> None:
    (_, written) = shlex.split(command("python", override("key", value)))
    assert taken(written) == value


@given(st.text(alphabet=st.sampled_from("ab/=,()[]{}'\"\\ #&:é-1.~"), max_size=12))
def test_any_text_of_odd_characters_is_too(value: str) -> None:
    (written,) = shlex.split(command(override("key", value)))
    assert taken(written) == value
