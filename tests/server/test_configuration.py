"""Which upstreams are found, and in what order of precedence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from support.pushed import batches
from tickertape.errors import SettingsError
from tickertape.providers.base import ChatRequest
from tickertape.server.configuration import find_file, from_environment, ollama_url, read_file, with_upstreams
from tickertape.server.providers import select
from tickertape.server.settings import Settings, UpstreamSettings, tuned
from tickertape.server.upstreams import make, read_key
from tickertape.testing.upstream import Upstream
from tickertape.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text("utf-8")
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def _nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no Ollama and no file, unless a test brings one."""
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "OLLAMA"):
        for end in ("API_KEY", "BASE_URL"):
            monkeypatch.delenv(f"{name}_{end}", raising=False)
    monkeypatch.delenv("GOOGLE_GEMINI_BASE_URL", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tickertape.server.configuration.user_config_path", lambda *_a, **_k: tmp_path / "mine")


def test_a_current_folder_that_is_gone_holds_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_file() is None


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str, name: str = "tickertape.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


ONE = '[[upstream]]\nname = "one"\nbase_url = "http://localhost:1"\n'


def names(settings: Settings) -> list[str]:
    return [upstream.name for upstream in settings.upstreams]


def test_the_example_of_the_documents_can_be_read_and_names_every_field(write: Callable[[str], Path]) -> None:
    examples = [part.partition("```")[0] for part in DOCUMENT.split("```toml\n")[1:]]
    whole = read_file(write("\n".join(examples)))
    assert [upstream.name for upstream in whole.upstream] == ["claude", "azure", "router", "vllm", "home", "mistral"]
    assert whole.model == "claude/claude-sonnet-4-5"
    for field in UpstreamSettings.__struct_fields__:
        assert f"{field}" in "\n".join(examples), f"docs/upstreams.md says nothing of {field}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[upstream]\n", "cannot be used"),
        ("", "missing required field `upstream`"),
        ("upstream = []\n", "names no upstream"),
        (ONE + 'colour = "red"\n', "contains unknown field `colour` - at `$.upstream[0]`"),
        (ONE + "retries = 1.5\n", "Expected `int | null`, got `float`"),
        (ONE + 'key_env = "A"\nkey_file = "b"\n', "both key_env and key_file"),
        (ONE + ONE, "Two upstreams are called 'one'"),
        (ONE.replace("one", "a/b"), "it was 'a/b'"),
        (ONE + 'dialect = "klingon"\n', "there are openai, anthropic, gemini, ollama, any"),
        (ONE + 'dialect = "any"\n', "must say which provider"),
        (ONE + 'provider = "mistral"\n', "its dialect is 'openai'"),
        (ONE + 'dialect = "any"\nprovider = "mistral"\nretries = 0\nkey_header = "k"\n', "key_header and retries"),
        (ONE + 'dialect = "gemini"\nthinking_opened = true\n', "which never has thinking inside the text"),
        (ONE + "retries = -1\n", "has retries = -1"),
        (ONE + 'parameters = ["a", "extra_body"]\n', "has extra_body among its parameters"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(write: Callable[[str], Path], text: str, says: str) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as refused:
        read_file(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value) or "upstream" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_file_here_comes_before_the_users_own_and_one_that_is_named_before_both(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    assert find_file() is None
    mine = write(ONE.replace("one", "mine"), "mine/tickertape.toml")
    assert find_file() == mine
    write(ONE)
    assert names(with_upstreams(Settings())) == ["one"]
    named = write(ONE.replace("one", "named"), "other.toml")
    assert names(with_upstreams(Settings(), named)) == ["named"]
    with pytest.raises(SettingsError, match="cannot be read"):
        with_upstreams(Settings(), tmp_path / "none.toml")


def test_the_command_line_comes_before_the_file_and_the_file_before_the_environment(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert names(with_upstreams(Settings())) == ["anthropic"]
    write('model = "m"\n' + ONE)
    assert names(with_upstreams(Settings())) == ["one"]
    assert with_upstreams(Settings()).model == "m"
    assert with_upstreams(Settings(model="mine")).model == "mine"
    assert names(with_upstreams(Settings(upstream="http://localhost:2"))) == ["openai"]
    assert names(with_upstreams(Settings(provider="gemini"))) == ["gemini"]
    assert names(with_upstreams(Settings(provider="echo"))) == []
    assert names(with_upstreams(Settings(model_path=Path("x.gguf")))) == []
    with pytest.raises(SettingsError, match="give one of them"):
        with_upstreams(Settings(provider="gemini"), Path("tickertape.toml"))
    with pytest.raises(SettingsError, match="--upstream needs a --provider that has one"):
        with_upstreams(Settings(provider="local", upstream="http://localhost:2"))


def test_every_service_whose_key_is_set_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment() == ()
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://localhost:3")
    found = from_environment()
    assert [one.name for one in found] == ["openai", "anthropic", "gemini"]
    assert [one.base_url for one in found] == ["", "http://localhost:3", ""]
    assert found[2].key_env == "GOOGLE_API_KEY"
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    assert from_environment()[2].key_env == "GEMINI_API_KEY"


def test_an_ollama_that_runs_and_has_a_model_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream() as upstream:
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{upstream.port}")
        [found] = from_environment()
        assert (found.name, found.base_url) == ("ollama", f"http://127.0.0.1:{upstream.port}")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert from_environment() == ()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("host", "http://host:11434"),
        ("host:1", "http://host:1"),
        ("http://host", "http://host:80"),
        ("https://host/x/", "https://host:443/x"),
        ("[::]:5", "http://[::1]:5"),
        ("host:port", "http://127.0.0.1:11434"),
    ],
)
def test_where_ollama_is_is_read_as_ollama_reads_it(monkeypatch: pytest.MonkeyPatch, given: str, url: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert ollama_url() == url


def test_a_key_comes_from_where_the_file_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    assert read_key(UpstreamSettings(name="a", key_env="SOME_KEY")) == (KEY, "SOME_KEY")
    (tmp_path / "key").write_text(f" {KEY}\n")
    read = read_key(UpstreamSettings(name="a", key_file=tmp_path / "key"))
    assert read == (KEY, "key_file of the upstream 'a'")
    monkeypatch.setenv("EMPTY_KEY", " ")
    for unset in ("OTHER_KEY", "EMPTY_KEY"):
        with pytest.raises(SettingsError, match=f"in {unset}, which is not set"):
            read_key(UpstreamSettings(name="a", key_env=unset))
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key(UpstreamSettings(name="a", key_file=tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff")
    for unusable in (tmp_path / "binary", Path("a\0b"), Path("~nosuchuser/key")):
        with pytest.raises(SettingsError, match="cannot be read"):
            read_key(UpstreamSettings(name="a", key_file=unusable))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match="which is empty"):
        read_key(UpstreamSettings(name="a", key_file=tmp_path / "empty"))


def test_the_usual_key_goes_to_the_dialects_own_service_and_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert read_key(UpstreamSettings(name="a", dialect="anthropic"))[0] == KEY
    other = UpstreamSettings(name="a", dialect="anthropic", base_url="https://elsewhere.example")
    assert read_key(other) == (None, "key_env of the upstream 'a'")


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
async def test_streamed_thinking_that_the_template_opened_is_reasoning_where_the_file_says_so(dialect: str) -> None:
    async with Upstream(words=["Hm, ", "so.\n", "</think>\n\n", "Yes."]) as upstream:
        for opened in (True, False):
            one = UpstreamSettings(
                name="a", dialect=dialect, base_url=upstream.url(dialect), models=("healthy",), thinking_opened=opened
            )
            provider = make(one, Settings())
            answer = Transcript()
            async for batch in batches(
                provider, ChatRequest(model="healthy", messages=[{"role": "user", "content": "hi"}])
            ):
                for delta in batch:
                    answer.add(delta)
            await provider.close()
            wanted = ("Hm, so.", "Yes.") if opened else ("", "Hm, so.\n</think>\n\nYes.")
            assert (answer.reasoning, answer.text) == wanted


async def test_timeouts_are_the_upstreams_own_or_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tuned(Settings(), ("idle_timeout=3", "retries=0"))
    provider = make(UpstreamSettings(name="a", base_url="http://localhost:1", idle_timeout=7), settings)
    assert (provider._idle, provider._first, provider._retries) == (7, 300, 0)  # type: ignore[attr-defined]
    await provider.close()


async def test_settings_with_upstreams_travel_to_a_worker_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    settings = with_upstreams(Settings())
    sent = msgspec.json.encode(settings, enc_hook=str)
    assert KEY.encode() not in sent
    received = msgspec.json.decode(sent, type=Settings, dec_hook=lambda kind, value: kind(value))
    assert received == settings
    catalog = select(received, None)
    assert [provider.name for provider in catalog.providers] == ["anthropic"]
    await catalog.close()
