"""The command line as a whole: help, version, completion, colours, and the names that commands had before."""

import errno
import os
import pty
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tests.helpers.clips import photos
from tests.helpers.tiny_run import TINY
from wildrayzer import __version__
from wildrayzer.cli.main import RENAMED, app
from wildrayzer.cli.messages import reported

COMMANDS = typer.main.get_command(app).commands
FAULTY = ("-c", "from wildrayzer.cli.main import app; app()", "config", "check", "missing.yaml")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def found(words):
    """The command of these words."""
    first, *rest = words.split()
    return COMMANDS[first].commands[rest[0]] if rest else COMMANDS[first]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_and_no_old_name(option):
    text = run(option).output
    lines = [line.strip("│ ").split()[0] for line in text.splitlines() if line.startswith("│ ") and line.strip("│ ")]
    assert (
        set(COMMANDS)
        == {"app", "config", "data", "export", "init", "masks", "released", "render", "run", "score"}
        <= set(lines)
    )
    assert not set(RENAMED) & set(lines)
    assert run("masks", "tune", option).exit_code == 0


def test_a_line_of_help_is_one_line():
    every = [
        *COMMANDS.values(),
        *(one for group in COMMANDS.values() for one in getattr(group, "commands", {}).values()),
    ]
    assert len(every) >= 20
    for command in every:
        first = (command.help or "").split("\n\n")[0]
        assert "\n" not in first, command.name
        assert first.endswith("."), command.name
        assert len(first) <= 80, command.name


def test_the_version_is_the_packages():
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"wildrayzer {__version__}\n")


def test_the_shell_completes_groups_and_their_commands_and_no_old_name():
    for typed, offered in (("wildrayzer ", set(COMMANDS)), ("wildrayzer masks in", {"inspect"})):
        environment = {
            **os.environ,
            "_WILDRAYZER_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(typed.count(" ")),
        }
        command = [sys.executable, "-c", "from wildrayzer.cli.main import app; app(prog_name='wildrayzer')"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert set(result.stdout.split()) == offered
        assert result.stderr == ""


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_leads_to_the_new_one_with_a_warning(old):
    new, _ = RENAMED[old]
    result = run(old, "--help")
    assert result.exit_code == 0
    assert f"warning: `wildrayzer {old}" in result.stderr
    assert f"is now `wildrayzer {new}" in result.stderr
    assert result.stdout == run(*new.split(), "--help").stdout
    assert found(new).help.split("\n")[0] in result.stdout


@pytest.mark.parametrize(
    ("old", "option", "joined"),
    [("plan", "--config", False), ("plan", "--config", True), ("summary", "--configfile", True)],
)
def test_the_old_option_is_the_argument_config(tmp_path, old, option, joined):
    missing = tmp_path / "missing.yaml"
    words = [f"{option}={missing}"] if joined else [option, missing]
    result = run(old, "--results", "a=b", *words)
    assert result.exit_code == 2
    assert f"warning: `wildrayzer {old} {option} CONFIG` is now `wildrayzer run {old} CONFIG`" in result.stderr
    assert str(missing) in result.stderr.split("error: ")[1]


@pytest.mark.parametrize("word", ["~/none.yaml", "$HOME/none.yaml", "${HOME}/none.yaml"])
def test_the_home_folder_is_found_where_the_shell_left_its_short_name(tmp_path, monkeypatch, word):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"{tmp_path}/none.yaml: no such configuration" in run("config", "check", word).stderr
    photos(tmp_path / "walk", ["1.png", "2.png", "3.png"])
    home = word.removesuffix("/none.yaml")
    assert run("data", "ingest", f"{home}/walk", f"--out={home}/own").exit_code == 0
    assert (tmp_path / "own" / "full_list.txt").is_file()


def test_a_user_without_a_home_folder_gets_the_temporary_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/nowhere")  # as containers set it for a number without an entry in /etc/passwd
    assert f"{tmp_path}/none.yaml: no such configuration" in run("config", "check", "~/none.yaml").stderr
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 123456)
    assert f"{tmp_path}/none.yaml: no such configuration" in run("config", "check", "~/none.yaml").stderr


def test_a_full_folder_of_temporary_files_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(typer.Exit), reported():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert f"of temporary files ({tmp_path}), is full; free space there, or set TMPDIR" in capsys.readouterr().err
    with pytest.raises(typer.Exit), reported():
        raise OSError(errno.ENOSPC, "No space left on device", "/disk/file")
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device: '/disk/file'\n"


def test_old_and_new_command_print_the_same(monkeypatch):
    old, new = run("describe", TINY), run("released", "describe", TINY)
    assert new.exit_code == old.exit_code == 0
    assert old.stdout == new.stdout
    assert new.stderr == ""


def test_config_is_the_first_argument_wherever_a_command_needs_one():
    for words in ("config check", "data check", "run plan", "run summary"):
        first = next(one for one in found(words).params if one.param_type_name == "argument")
        assert first.metavar.startswith("CONFIG"), words


def output_on_a_terminal(**environment):
    """What an error looks like where stderr is a terminal."""
    inner, outer = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    try:
        subprocess.run(
            [sys.executable, *FAULTY], env={**kept, "TERM": "xterm", **environment}, stderr=outer, check=False
        )
        return os.read(inner, 10_000).decode()
    finally:
        os.close(inner)
        os.close(outer)


def test_errors_are_red_unless_the_user_or_the_terminal_says_no():
    red = "\x1b[31m"
    assert red in output_on_a_terminal()
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        text = output_on_a_terminal(**environment)
        assert text.startswith("error: ")
        assert "\x1b" not in text


def test_help_loads_nothing_slow():
    code = "import sys; from typer.testing import CliRunner; from wildrayzer.cli.main import app; "
    code += "CliRunner().invoke(app, ['--help']); print({'torch', 'pandas', 'transformers', 'zarr'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_signs_that_the_locale_does_not_have_stop_nothing():
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = "from rich.console import Console; from wildrayzer.cli.main import app; "
    code += "app.command('say')(lambda: Console().print(chr(0x2586) + ' 1')); app(['say'])"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, b"? 1\n"), result.stderr
