"""All names in the documents exist: make targets, modules and their options, Prefect commands and
deployments, environment variables, and the files that links lead to."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from prefect import Flow

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("sandbox/**/*.md"),
        *ROOT.glob("deployments/**/*.md"),
    ]
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
PRODUCT = ("pro_video", "tasks", "flows", "gateway", "deployments", "sandbox")

# Commands of other people that a reader is expected to have.
FOREIGN = {"cd", "git", "curl", "docker", "pip", "uv", "aws", "export"}


@dataclass(frozen=True)
class Command:
    """One command of a document, as a list of words."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)[:60]}"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands_of(path: Path) -> list[Command]:
    """Commands of the blocks marked console (lines after a ``$``), bash or sh."""
    found = []
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(console|bash|sh)\n(.*?)^```", text, re.M | re.S):
        kind, block = match.groups()
        if kind == "console":
            parts = re.split(r"^\$ ", block, flags=re.M)[1:]
            assert parts, f"{name_of(path)}: a console block without a prompt"
        else:
            parts = [block]
        for part in parts:
            found += [Command(name_of(path), tuple(words)) for words in _split(part, kind)]
    return found


def _split(part: str, kind: str) -> list[list[str]]:
    """The commands of a piece of shell; of a console's piece only the command, not its output."""
    commands: list[list[str]] = []
    pending = ""
    for line in part.splitlines():
        pending += line + "\n"
        try:
            words = shlex.split(pending.replace("\\\n", " "), comments=True)
        except ValueError:
            continue
        if pending.endswith("\\\n"):
            continue
        pending = ""
        if words:
            commands.append(words)
            if kind == "console":
                return commands
    assert not pending, f"a command without an end: {pending}"
    return commands


COMMANDS = [command for path in DOCUMENTS for command in commands_of(path)]


@lru_cache
def make_targets() -> dict[str, str]:
    """Targets that ``make help`` lists, with their recipes."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    pieces = re.split(r"^(?=[a-z][a-z-]*:.*## )", text, flags=re.M)[1:]
    return {piece.partition(":")[0]: piece for piece in pieces}


@lru_cache
def source() -> str:
    """All of the product's code, to look names up in."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
    )


@lru_cache
def help_of(module: str, *subcommand: str) -> str:
    """The help of a command of this environment, from the entry that ``python -m`` calls."""
    name = "prefect.cli" if module == "prefect" else module
    found = importlib.util.find_spec(name)
    if module != "prefect" and found is not None and found.submodule_search_locations:
        name = f"{module}.__main__"
    loaded = importlib.import_module(name)
    entry = loaded.app if module == "prefect" else loaded.main
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", [module, *subcommand, "--help"])
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(entry())
    assert not ended.value.code, said.getvalue()
    assert said.getvalue()
    return said.getvalue()


@lru_cache
def deployments() -> set[str]:
    from prefect.flows import load_flow_from_entrypoint

    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return {
        f"{load_flow_from_entrypoint(each['entrypoint'], use_placeholder_flow=False).name}"
        f"/{each['name']}"
        for each in content["deployments"]
    }


def check_make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    for target in targets:
        assert target in make_targets(), f"make has no target {target}"
    for word in words:
        if "=" in word:
            variable = word.partition("=")[0]
            used = "".join(make_targets()[target] for target in targets)
            exported = re.search(rf"^export .*\b{variable}\b", _makefile(), re.M)
            assert f"$({variable})" in used or exported or f"{variable} ?=" in _makefile()


def _makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def check_module(words: list[str]) -> None:
    module, *rest = words
    assert importlib.util.find_spec(module) is not None, f"there is no module {module}"
    # A first word that is no option is a subcommand with a help of its own.
    known = help_of(module)
    path: list[str] = []
    for word in rest:
        if word.startswith("-"):
            break
        if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", known):
            break
        path.append(word)
        known += help_of(module, *path)
    check_options(rest, known)


def check_pro_video(words: list[str]) -> None:
    from deployments.command_line.main import make_app

    module = project()["scripts"]["pro-video"].partition(":")[0]
    assert words[0].startswith("-") or words[0] in make_app(), f"no command {words[0]}"
    check_module([module, *words])


def parse_pro_video(words: list[str]) -> None:
    """Parse a command about jobs; the others have parsers of their own."""
    from deployments.command_line.main import make_app
    from deployments.command_line.parts import PARTS

    if words[0] not in PARTS:
        make_app().parse_args(words, exit_on_error=False)


def check_options(words: list[str], known: str) -> None:
    for word in words:
        if word.startswith("--") and len(word) > 2:
            option = word.partition("=")[0]
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), f"no option {option}"


def check_prefect(words: list[str]) -> None:
    plain: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-") or len(plain) == 2:
            break
        plain.append(word)
    check_options(words, help_of("prefect", *plain))
    if plain == ["deployment", "run"]:
        named = [word for word in words if re.fullmatch(r"[\w-]+/[\w-]+", word)]
        assert named
        for name in named:
            assert name in deployments()
        if "--params" in words:
            parameters = json.loads(words[words.index("--params") + 1])
            check_parameters(named[0], parameters)
    if "--pool" in words:
        assert words[words.index("--pool") + 1] in (ROOT / "prefect.yaml").read_text("utf-8")


def check_parameters(deployment: str, parameters: dict[str, object]) -> None:
    from prefect.utilities.callables import parameter_schema
    from pydantic import TypeAdapter

    from flows.cleanup import cleanup_flow
    from flows.pro_video import pro_video_flow
    from flows.text_inpainting import text_inpainting_flow
    from pro_video.request.models import AnnotationArea, Segment

    flow: dict[str, Flow[..., Any]] = {
        "pro-video/local": pro_video_flow,
        "text-inpainting/local": text_inpainting_flow,
        "pro-video-cleanup/local": cleanup_flow,
    }
    known = parameter_schema(flow[deployment].fn).properties
    assert set(parameters) <= set(known)
    TypeAdapter(list[Segment]).validate_python(parameters.get("segments", []))
    TypeAdapter(list[AnnotationArea]).validate_python(parameters.get("annotation_areas", []))


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_can_be_typed(command: Command) -> None:
    words = list(command.words)
    # Variables before a command, as in NAME=value command.
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.S):
        words.pop(0)
    program = words[0].removeprefix(".venv/bin/") if words else "export"
    if program == "make":
        check_make(words[1:])
    elif program in ("python", "python3") and words[1:2] == ["-m"]:
        check_module(words[2:])
    elif program == "pro-video":
        check_pro_video(words[1:])
        parse_pro_video(words[1:])
    elif program == "pro-video-sandbox":
        check_module(["sandbox", *words[1:]])
    elif program in ("python", "python3"):
        assert (ROOT / words[1]).is_file()
    elif program == "prefect":
        check_prefect(words[1:])
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if not word.startswith("-"))
    else:
        assert program in FOREIGN, f"no check knows the command {program}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_environment_variables_exist(path: Path) -> None:
    """Each variable is read by name, or is a field of a settings class with its prefix."""
    unknown = []
    for name in set(re.findall(r"\bPRO_VIDEO_[A-Z0-9_]*[A-Z0-9]\b", path.read_text("utf-8"))):
        fields = [
            name.removeprefix(prefix).lower()
            for prefix in ("PRO_VIDEO_WORKER_", "PRO_VIDEO_GATEWAY_", "PRO_VIDEO_")
            if name.startswith(prefix)
        ]
        is_field = any(re.search(rf"^    {field}: ", source(), re.M) for field in fields)
        if not is_field and f'"{name}"' not in source():
            unknown.append(name)
    assert unknown == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_named_in_the_text_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for words in re.findall(r"`make ([^`]+)`", text):
        check_make([word for word in words.split() if not word.startswith("<")])
    for module in re.findall(r"`(?:\.venv/bin/)?python -m ([\w.]+)[^`]*`", text):
        assert importlib.util.find_spec(module) is not None, module
    for words in re.findall(r"`(?:\.venv/bin/)?pro-video ([^`]+)`", text):
        check_pro_video(words.split())


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # Code may hold brackets and parentheses that are no links.
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        in_document = heading and target.suffix == ".md"
        if not target.exists() or (in_document and heading not in headings(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_files_named_in_the_text_exist(path: Path) -> None:
    text = re.sub(r"^```(?:console|bash|sh).*?^```", "", path.read_text(), flags=re.M | re.S)
    folders = "|".join([*PRODUCT, "tests", "benchmarks", "docs", "examples"])
    named = re.findall(rf"(?<![\w/.{{])((?:{folders})/[\w/.*-]*[\w/*])", text)
    assert [name for name in named if not list(ROOT.glob(name))] == []


def headings(path: Path) -> set[str]:
    """Anchors as the usual renderers make them."""
    found = re.findall(r"^#+ +(.+?) *$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_the_readme_names_the_two_commands() -> None:
    words = [command.words for command in commands_of(ROOT / "README.md")]
    assert ("make", "demo") in words
    assert ("make", "test") in words


@lru_cache
def project() -> dict[str, Any]:
    """The table of ``pyproject.toml`` about the project."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = content["project"]
    return found


def supported_minors() -> range:
    """The minor versions of Python 3 that are supported."""
    stated = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project()["requires-python"])
    assert stated
    return range(int(stated[1]), int(stated[2]))


def test_the_supported_pythons_and_the_download_are_stated_alike() -> None:
    minors = supported_minors()
    language = "Programming Language :: Python :: 3."
    assert project()["classifiers"] == [f"{language}{minor}" for minor in minors]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python 3.{minors[0]} to 3.{minors[-1]} " in readme
    megabytes = re.search(r"^DOWNLOAD_MB := (\d+)$", (ROOT / "Makefile").read_text(), re.M)
    assert megabytes
    assert f"about {megabytes[1]} MB" in readme


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("/no/such/python", "There is no Python at /no/such/python."),
        ("./broken", "./broken does not run."),
        ("./python3.10", "Python 3.10 is not supported; 3.11 to 3.14 are."),
        ("", "No Python 3.11 to 3.14 was found."),
    ],
)
def test_an_unsuitable_python_is_called_what_it_is(tmp_path: Path, python: str, says: str) -> None:
    (tmp_path / "sandbox").mkdir()
    for name in ("Makefile", "pyproject.toml", "sandbox/pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name, does in (("python3.10", "echo 3.10"), ("broken", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["make", "install", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"{says} Use make PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()
