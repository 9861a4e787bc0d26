"""Settings on the command line: precedence, errors with their origin, peers, help."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from dcmkit.cli.options import Peer, ToolGroup, build, invocation, peer_argument, settings_options, tool
from dcmkit.errors import DcmkitError, ExitCode, NoInputError
from dcmkit.settings import ListenerSettings, LoggingSettings, RequestorSettings, UserIdentitySettings


class Seen(list):
    """What the command was called with."""


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def command(seen):
    @tool("storescu")
    @settings_options(RequestorSettings, UserIdentitySettings, tool_defaults={"calling_ae_title": "STORESCU"})
    @peer_argument
    @click.option("+x=", "--prefer-uncompr", "prefer", is_flag=True, help="prefer uncompressed")
    @click.option("--repeat", type=click.IntRange(1), default=1, help="repeat")
    @click.argument("files", nargs=-1)
    def storescu(peer, prefer, repeat, files):
        """Send files.

        More about it.
        """
        seen.append((peer, prefer, repeat, files))
        seen.settings = build(RequestorSettings)
        seen.identity = build(UserIdentitySettings)
        seen.logging = build(LoggingSettings)
        if "fail" in files:
            raise NoInputError("nothing there", hint="look elsewhere")
        if "crash" in files:
            raise ZeroDivisionError("oh\x1b[0m")
        return ExitCode.PARTLY_DONE if "some" in files else None

    return storescu


@pytest.fixture
def run(command):
    def invoke(*args, env=None):
        return CliRunner().invoke(command, args, env=env)

    return invoke


def config(tmp_path, text):
    path = tmp_path / "xdg" / "dcmkit" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_arguments_and_options_in_any_order(run, seen):
    result = run("-aec", "PACS", "localhost", "+x=", "104", "a", "--repeat", "2", "-5", "-aet", "ME", "b")
    assert result.exit_code == 0, result.output
    assert seen == [(Peer("localhost", 104), True, 2, ("a", "-5", "b"))]
    assert (seen.settings.called_ae_title, seen.settings.calling_ae_title) == ("PACS", "ME")


def test_precedence(run, seen, tmp_path):
    def aet(*args, env=None):
        assert run("h", "1", *args, env=env).exit_code == 0
        return seen.settings.calling_ae_title

    assert aet() == "STORESCU"
    config(tmp_path, "[association]\ncalling_ae_title = 'SHARED'")
    assert aet() == "SHARED"
    config(tmp_path, "[association]\ncalling_ae_title = 'SHARED'\n[storescu]\ncalling_ae_title = 'TOOL'")
    assert aet() == "TOOL"
    assert aet(env={"DCMKIT_CALLING_AE_TITLE": ""}) == "TOOL"
    assert aet(env={"DCMKIT_CALLING_AE_TITLE": "ENV"}) == "ENV"
    assert aet("-aet", "LINE", env={"DCMKIT_CALLING_AE_TITLE": "ENV"}) == "LINE"
    assert aet("-aet", "LINE", "--aetitle", "LAST") == "LAST"
    assert seen.settings.max_pdu == RequestorSettings().max_pdu


def test_another_tools_section_does_not_count(run, seen, tmp_path):
    config(tmp_path, "[echoscu]\ncalling_ae_title = 'OTHER'")
    run("h", "1")
    assert seen.settings.calling_ae_title == "STORESCU"


def test_config_option(run, seen, tmp_path):
    (tmp_path / "mine.toml").write_text("[association]\nmax_pdu = 8192")
    run("h", "1", "--config", str(tmp_path / "mine.toml"))
    assert seen.settings.max_pdu == 8192
    result = run("h", "1", "--config", str(tmp_path / "none.toml"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_values_are_converted_and_checked_wherever_they_come_from(run, seen, tmp_path):
    config(tmp_path, "[association]\nmax_pdu = 12")
    path = tmp_path / "xdg" / "dcmkit" / "config.toml"
    for result, where in (
        (run("h", "1"), f"{path}, [association] max_pdu: 12 is too small; the smallest is 4096 bytes"),
        (run("h", "1", env={"DCMKIT_MAX_PDU": "x"}), "environment variable DCMKIT_MAX_PDU: 'x' is not a whole number"),
        (run("h", "1", "-pdu", "99999999999"), "option -pdu: 99999999999 is too large; the largest is 16777216 bytes"),
        (
            run("h", "1", "-pdu", "8192", "-ll", "inof"),
            "option -ll: 'inof' is none of fatal, error, warn, info, debug,",
        ),
    ):
        assert result.exit_code == 1
        assert f"dcmkit storescu: error: {where}" in result.stderr
        assert result.stderr.count("\n") == 1
    assert seen == []


def test_nodes(run, seen, tmp_path):
    config(tmp_path, "[nodes.pacs]\nhost = '::1'\nport = 104\ncalled_ae_title = 'PACS'\nuser = 'me'\nmax_pdu = 8192")
    assert run("@pacs", "a", env={"DCMKIT_CALLED_AE_TITLE": "ENV"}).exit_code == 0
    assert seen == [(Peer("::1", 104, "pacs"), False, 1, ("a",))]
    assert str(seen[0][0]) == "[::1]:104 (@pacs)"
    assert (seen.settings.called_ae_title, seen.settings.max_pdu, seen.identity.user) == ("PACS", 8192, "me")
    run("@pacs", "-aec", "LINE")
    assert seen.settings.called_ae_title == "LINE"


def test_argument_files(run, seen, tmp_path):
    (tmp_path / "args").write_text("localhost 104 -aec 'THE PACS'\n a")
    assert run(f"@{tmp_path}/args", "b").exit_code == 0
    assert seen == [(Peer("localhost", 104), False, 1, ("a", "b"))]
    assert seen.settings.called_ae_title == "THE PACS"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no peer: HOST PORT or @NODE is missing"),
        (("h",), "the port of h is missing"),
        (("h", "x"), "'x' is not a port number"),
        (("h", "70000"), "port 70000 is out of range (ports are 1 to 65535)"),
        (("@nowhere",), "@nowhere: no node 'nowhere' is configured and there is no such file"),
        (("h", "1", "--repeat", "0"), "invalid value for '--repeat': 0 is not in the range x>=1"),
        (("h", "1", "--reapeat", "3"), "no such option: --reapeat (did you mean --repeat?)"),
        (("h", "1", "+tls", "k", "c"), "option +tls is DCMTK's; dcmkit storescu does not have it yet"),
        (("h", "1", "-pwd"), "option -pwd needs a value"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_1(run, seen, args, message):
    result = run(*args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"dcmkit storescu: error: {message}")
    assert result.stderr.count("\n") == 1
    assert seen == []


def test_exit_codes(run):
    assert run("h", "1").exit_code == 0
    assert run("h", "1", "some").exit_code == ExitCode.PARTLY_DONE
    result = run("h", "1", "fail")
    assert result.exit_code == ExitCode.NO_INPUT_FILES
    assert result.stderr == "dcmkit storescu: error: nothing there (look elsewhere)\n"


def test_a_defect_shows_its_traceback_only_in_debug(run):
    result = run("h", "1", "crash")
    assert result.exit_code == ExitCode.INTERNAL_ERROR
    assert "error: ZeroDivisionError: oh\\x1b[0m (this is a defect" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" in run("h", "1", "crash", "-d").stderr


def test_log_levels(run, seen):
    for args, level in ((("-v",), "info"), (("-d",), "debug"), (("-q",), "fatal"), (("-v", "-ll", "trace"), "trace")):
        run("h", "1", *args)
        assert seen.logging.log_level == level


def test_unknown_keys_warn_but_do_not_stop(run, tmp_path):
    config(tmp_path, "[association]\nmax_pud = 1\n[storescu]\nbind = ['x']\nmax_pdu = 8192\n[whatever]\na = 1")
    result = run("h", "1")
    assert result.exit_code == 0
    assert result.stderr.count("W: ") == 2
    assert "[association] max_pud: no such key; did you mean max_pdu? (ignored)" in result.stderr
    assert "[storescu] bind: no such key" in result.stderr


def test_lists_from_line_environment_and_file(tmp_path):
    got = []

    @tool("storescp")
    @settings_options(ListenerSettings)
    def storescp():
        got.append(build(ListenerSettings).bind)

    runner = CliRunner()
    runner.invoke(storescp, ["--bind", "::1", "--bind", "127.0.0.1"])
    runner.invoke(storescp, [], env={"DCMKIT_BIND": "::1, 127.0.0.1"})
    config(tmp_path, "[listener]\nbind = ['::1', '127.0.0.1']")
    runner.invoke(storescp, [])
    assert got == [("::1", "127.0.0.1")] * 3


def test_off_flags():
    from dcmkit.settings import Settings, option

    class Some(Settings):
        section = "some"
        keep: bool = option(True, "+k", "--keep", off_flags=("-k", "--no-keep"), help="keep it")

    got = []

    @tool("x")
    @settings_options(Some)
    def command():
        got.append(build(Some).keep)

    runner = CliRunner()
    for args in ([], ["-k"], ["--no-keep"], ["-k", "+k"]):
        runner.invoke(command, args)
    assert got == [True, False, False, True]
    assert "+k --keep / -k --no-keep" in runner.invoke(command, ["-h"]).output


def test_help_shows_groups_ranges_and_defaults(run):
    output = run("--help").stdout
    assert output.startswith("Usage: dcmkit storescu [OPTIONS] (HOST PORT | @NODE) [FILES]...\n\n  Send files.")
    words = " ".join(output.split())
    for text in (
        "storescu options:",
        "+x=, --prefer-uncompr prefer uncompressed",
        "association options:",
        "-aet --aetitle AETITLE my own AE title [default: STORESCU]",
        "[4096 to 16777216; default: 262144 bytes]",
        "-ll --log-level LEVEL use this level for logging [one of fatal, error, warn, info, debug, trace;",
        "-v --verbose print processing details",
        "-h, --help show this message and exit",
    ):
        assert text in words
    assert output.index("general options:") > output.index("association options:")


def test_version(run):
    from dcmkit import __version__

    assert run("--version").stdout == f"dcmkit {__version__}\n"


def test_build_with_changes(run, seen):
    @tool("echoscu")
    @settings_options(RequestorSettings)
    def command():
        seen.append((build(RequestorSettings, max_pdu=5), invocation().tool))

    CliRunner().invoke(command, ["-aet", "X"])
    assert seen[0][0] == RequestorSettings(calling_ae_title="X", max_pdu=5)


index = ToolGroup("index", help="Look into it.")
listed = []


@index.command("ls")
@settings_options(ListenerSettings)
@click.argument("what", required=False)
def _ls(what):
    """List."""
    listed.append((what, build(ListenerSettings).workers, invocation().tool))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "a command is missing (one of ls)"),
        (["lss"], "no such command: lss (did you mean ls?)"),
        (["--nope"], "no such option: --nope"),
    ],
)
def test_group_errors(args, message):
    result = CliRunner().invoke(index, args)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"dcmkit index: error: {message}")


def test_group_subcommands_share_a_section(tmp_path):
    outer = ToolGroup("dcmkit")
    outer.add_command(index)
    listed.clear()
    (tmp_path / "c.toml").write_text("[index]\nworkers = 7")
    result = CliRunner().invoke(outer, ["--config", str(tmp_path / "c.toml"), "index", "ls", "-v", "x"])
    assert result.exit_code == 0, result.output
    assert listed == [("x", 7, "index")]
    assert "List." in CliRunner().invoke(outer, ["index", "-h"]).stdout


def test_dcmkit_errors_know_an_exit_code():
    assert DcmkitError.exit_code in list(ExitCode)
