# SPDX-License-Identifier: Apache-2.0
"""adapters/perl/LetheState.pm with Dancer2::Session::Simple and Plack::Session::Store, against a stand-in of the state API. The whole way
is in test_stacks.py (dancer2, plack)."""
import json
import os
import shutil
import subprocess
import time

import pytest
import requests
from fake_state_api import FakeStateApi

from rig import free_port, wait_for
from rig.servers import _Server

HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTER = os.path.realpath(os.path.join(HERE, "..", "..", "adapters", "perl"))
APPS = os.path.join(HERE, "apps", "perl")
SIMPLE, STORE = "Dancer2::Session::Simple", "Plack::Session::Store"
KINDS = {"plack": (STORE, "plack_session"), "dancer2": (SIMPLE, "dancer.session")}

# Applications in this process. ask(app, id) gives [status, the session's id, body]; each page is a sub that gets the session's hash.
COMMON = """
use strict; use warnings; use JSON::PP; use HTTP::Request::Common; use Plack::Test;
$| = 1;
sub say_json { print JSON::PP->new->canonical->allow_nonref->encode($_[0]), "\\n" }
sub ask {
    my ($app, $id) = @_;
    my $name = kind() eq 'plack' ? 'plack_session' : 'dancer.session';
    my $r = eval { test_psgi($app, sub { $_[0]->(GET '/', defined $id ? (Cookie => "$name=$id") : ()) }) };
    return [500, $id, "$@"] unless $r;
    my ($set) = ($r->header('Set-Cookie') // '') =~ /\\Q$name\\E=([^;]*)/;
    return [$r->code, $set // $id, $r->content];
}
"""
PLACK = COMMON + """
use Plack::Middleware::Session;
sub kind { 'plack' }
sub app {
    my ($page) = @_;
    return Plack::Middleware::Session->wrap(sub {
        my ($env) = @_;
        return [200, [], [$page->($env->{'psgix.session'}, $env->{'psgix.session.options'}) // '']];
    });
}
sub counter { app(sub { ++$_[0]{n} }) }
"""
DANCER2 = COMMON + """
BEGIN { $ENV{DANCER_ENVIRONMENT} = 'production' }
sub kind { 'dancer2' }
my $apps = 0;
sub app {
    my ($page) = @_;
    my $package = 'App' . $apps++;
    my $made = eval "package $package; use Dancer2; set session => 'Simple'; set logger => 'Null'; set show_stacktrace => 1;"
        . "set charset => ''; sub { my (\\$page) = \\@_; get '/' => sub { \\$page->(session->data, app) // '' }; to_app }" or die $@;
    return $made->($page);
}
sub counter { app(sub { ++$_[0]{n} }) }
"""
PRELUDE = {"plack": PLACK, "dancer2": DANCER2}


@pytest.fixture(name="api")
def api_fixture(short_dir):
    with FakeStateApi(short_dir) as api:
        yield api


@pytest.fixture(name="kind", params=["plack", "dancer2"])
def kind_fixture(request):
    return request.param


def environment(address, opt=" -MLetheState", lib=f"{ADAPTER}:"):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_") and k not in ("PERL5OPT", "PERL5LIB")}
    return {**env, "PERL5OPT": opt, "PERL5LIB": lib, **({"LETHE_STATE_API_LISTEN": address} if address else {})}


def perl(code, address, args=(), seconds=60, **how):
    """Runs the code; what it printed as JSON, one value a line, and its stderr."""
    done = subprocess.run(["perl", *args, "-e", code], env=environment(address, **how), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()], done.stderr.decode()


def app(kind, code, address, **how):
    return perl(PRELUDE[kind] + code, address, **how)


def hooked(store, address):
    return f"lethe: perl: hooked {store}: its sessions are kept by lethe at {address}\n"


class Starman(_Server):
    def __init__(self, kind, address, *args, **how):
        super().__init__()
        self.address, self.args, self.psgi = f"127.0.0.1:{free_port()}", args, os.path.join(APPS, f"{kind}.psgi")
        self.environment = {**environment(address, **how), "REPLICA": "0", "PLACK_ENV": "production"}

    def argv(self):
        return ["starman", *self.args, "--listen", self.address, "--disable-keepalive", self.psgi]

    def env(self):
        return self.environment

    def json(self, path, cookies=None):
        answer = requests.get(f"http://{self.address}{path}", cookies=cookies, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


# --- what it says ---

def test_says_that_it_hooked_and_the_session_is_elsewhere(api, kind):
    """Two programs, one session. The same without the adapter is lost."""
    store = KINDS[kind][0]
    out, said = app(kind, "say_json(ask(counter()))", api.address)
    (status, sid, body), = out
    assert (status, body) == (200, "1") and said == hooked(store, api.address)
    assert api.reports == [("perl", store, "hooked", f"its sessions are kept by lethe at {api.address}")]
    assert list(api.blobs) == [sid]  # under the id of the cookie
    out, _ = app(kind, f"say_json(ask(counter(), '{sid}'))", api.address)
    assert out == [[200, sid, "2"]]
    without, said = app(kind, f"say_json(ask(counter(), '{sid}'))", api.address, opt="")
    assert without[0][2] == "1" and said == ""


def test_says_that_it_has_no_address(kind):
    out, said = app(kind, "my $a = counter(); my $id = ask($a)->[1]; say_json(ask($a, $id))", None)
    assert out[0][2] == "2"  # in memory, as ever
    assert said == (f"lethe: perl: failed {KINDS[kind][0]}: LETHE_STATE_API_LISTEN is not set; "
                    "give the application the same value as lethe\n")


def test_says_that_another_store_of_plack_is_used(api, tmp_path):
    _, said = perl(f"""use Plack::Middleware::Session; use Plack::Session::Store::File;
        Plack::Middleware::Session->wrap(sub {{}}, store => Plack::Session::Store::File->new(dir => '{tmp_path}')) for 1, 2""", api.address)
    assert said == ("lethe: perl: failed Plack::Session::Store::File: it has its own fetch, so lethe does not carry its sessions\n")
    assert [r[1:3] for r in api.reports] == [("Plack::Session::Store::File", "failed")]


def test_says_that_another_engine_of_dancer2_is_used(api, tmp_path):
    _, said = perl(f"""use Dancer2; set engines => {{ session => {{ YAML => {{ session_dir => '{tmp_path}' }} }} }}; set session => 'YAML';
        to_app""", api.address)
    assert "lethe: perl: failed Dancer2::Session::YAML: it is not Dancer2::Session::Simple, so lethe does not carry its sessions\n" in said


@pytest.mark.parametrize("file, package, lacking", [("Plack/Session/Store.pm", STORE, "store"),
                                                    ("Dancer2/Session/Simple.pm", SIMPLE, "create")])
def test_says_that_the_store_is_strange(api, tmp_path, file, package, lacking):
    os.makedirs(os.path.dirname(tmp_path / file))
    (tmp_path / file).write_text(f"package {package}; sub fetch {{}} sub remove {{}} sub _retrieve {{}} sub _flush {{}} sub _destroy {{}} "
                                 "sub retrieve {} 1;")
    _, said = perl(f"require {package}", api.address, lib=f"{ADAPTER}:{tmp_path}")
    assert said == f"lethe: perl: failed {package}: it has no {lacking}; sessions stay in this process\n"
    assert [r[1:3] for r in api.reports] == [(package, "failed")]


def test_a_program_without_sessions_hears_nothing(api):
    assert perl("print 1", api.address) == ([1], "") and not api.reports and not api.connections


def test_the_users_own_settings_are_kept(api, tmp_path):
    (tmp_path / "Own.pm").write_text("package Own; our $value = 7; 1;")
    out, said = perl("print $Own::value", api.address, opt="-MOwn -MLetheState", lib=f"{ADAPTER}:{tmp_path}")
    assert out == [7] and said == ""
    out, said = app("plack", "say_json($Own::value); counter()", api.address, opt="-MOwn -MLetheState", lib=f"{ADAPTER}:{tmp_path}")
    assert out == [7] and said == hooked(STORE, api.address)


@pytest.mark.parametrize("how", ["use lib", "-I", "unshift"])
def test_modules_in_a_directory_of_the_application(api, tmp_path, how):
    """It stands in @INC before the hook."""
    os.makedirs(tmp_path / "Plack" / "Session")
    shutil.copy("/usr/share/perl5/Plack/Session/Store.pm", tmp_path / "Plack" / "Session")
    before = {"use lib": f"use lib '{tmp_path}';", "-I": "", "unshift": f"BEGIN {{ unshift @INC, '{tmp_path}' }}"}[how]
    out, said = perl(before + PLACK + "say_json(ask(counter())); say_json($INC{'Plack/Session/Store.pm'})", api.address,
                     args=[f"-I{tmp_path}"] if how == "-I" else [])
    assert out[1] == f"{tmp_path}/Plack/Session/Store.pm" and out[0][2] == "1"
    assert said == hooked(STORE, api.address) and list(api.blobs) == [out[0][1]]


def test_says_that_it_was_passed_by(api, tmp_path):
    """All that is loaded comes from before the hook: nothing is hooked, and that is said."""
    os.makedirs(tmp_path / "Plack" / "Session")
    (tmp_path / "Plack" / "Session" / "Store.pm").write_text("package Plack::Session::Store; sub fetch {} sub store {} "
                                                             "sub remove {} 1;")
    _, said = perl(f"unshift @INC, '{tmp_path}'; require Plack::Session::Store", api.address)
    assert said.startswith(f"lethe: perl: failed {STORE}: it was loaded from {tmp_path}/Plack/Session/Store.pm, which stands before")
    assert [r[1:3] for r in api.reports] == [(STORE, "failed")]


def test_a_store_that_is_loaded_before(api):
    out, said = app("plack", "say_json(ask(counter()))", api.address,
                    opt="-MPlack::Session::Store -MPlack::Middleware::Session -MLetheState")
    assert said == hooked(STORE, api.address) and list(api.blobs) == [out[0][1]]


def test_a_module_that_is_missing_or_broken_is_told_as_ever(api, tmp_path):
    os.makedirs(tmp_path / "Plack" / "Session")
    (tmp_path / "Plack" / "Session" / "Store.pm").write_text("package Plack::Session::Store; die 'broken';")
    out, _ = perl("eval { require Plack::Session::Store }; print encode_json([$@ =~ /^broken at/ ? 1 : $@]), qq(\\n);"
                  "eval { require Not::There }; print encode_json([$@ =~ m{^Can't locate Not/There.pm in} ? 1 : $@])", api.address,
                  args=["-MJSON::PP"], lib=f"{ADAPTER}:{tmp_path}")
    assert out == [[1], [1]]


def test_lethe_starts_after_the_application(api, kind):
    """What it hooked is told as soon as somebody listens."""
    api.stop()
    code = PRELUDE[kind] + "my $a = counter(); say_json(ask($a)); <STDIN>; say_json(ask($a)); say_json(ask($a))"
    with subprocess.Popen(["perl", "-e", code], env=environment(api.address), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as program:
        early = json.loads(program.stdout.readline())
        assert early[0] == 500 and not api.reports
        api.start()
        out, said = program.communicate(b"\n", timeout=30)
    assert [json.loads(line)[2] for line in out.splitlines()] == ["1", "1"]
    assert len(api.reports) == 1 and api.reports[0][2] == "hooked" and said.decode().count("lethe: perl:") == 1


# --- what the application sees ---

def test_a_session_that_is_not_there_gets_a_new_id(api, kind):
    api.dead.add("d" * 40)
    for sid in ("a" * 40, "d" * 40, "a" * 600, "%00/../"):
        (answer,), _ = app(kind, f"say_json(ask(counter(), '{sid}'))", api.address)
        assert answer[0] == 200 and answer[2] == "1" and answer[1] != sid
        assert answer[1] in api.blobs


@pytest.mark.parametrize("state", ["away", "broken", "hang", "stopped", "foreign"])
def test_a_session_that_nobody_can_tell_of_is_an_error(api, kind, state):
    """Never a new session: the cookie would be replaced, and the session be lost for good."""
    (first,), _ = app(kind, "say_json(ask(counter()))", api.address)
    sid = first[1]
    blob = api.blobs[sid]
    if state == "hang":
        api.hang.set()
    elif state == "stopped":
        api.stop()
    elif state == "foreign":
        api.blobs[sid] = blob.split(b"\n", 1)[1]  # Storable's bytes without the adapter's word before them
    else:
        setattr(api, state, True)
    began = time.monotonic()
    (answer,), _ = app(kind, f"say_json(ask(counter(), '{sid}'))", api.address)
    assert answer[:2] == [500, sid] and "lethe: " in answer[2]
    assert time.monotonic() - began < 9
    assert ("PUT", "", sid) not in api.calls[2 if kind == "dancer2" else 1:]
    if state == "foreign":
        assert "written by another adapter" in answer[2]
        api.blobs[sid] = blob
    api.away = api.broken = False
    api.hang.clear()
    if state == "stopped":
        api.start()
    (answer,), _ = app(kind, f"say_json(ask(counter(), '{sid}'))", api.address)
    assert answer == [200, sid, "2"]


def test_a_write_that_fails_is_an_error_and_one_after_the_logout_is_dropped(api, kind):
    out, _ = app(kind, """
        my $id = ask(counter())->[1];
        say_json(ask(app(sub { $_[0]{big} = 'b' x 5_000_000; 1 }), $id));
        say_json(ask(app(sub { $_[0]{n} = 5; LetheState::remove($id); 'late' }), $id));
        say_json(ask(counter(), $id));
    """, api.address)
    assert out[0][0] == 500
    assert out[1][0] == 200 and out[1][2] == "late"
    assert out[2][2] == "1" and list(api.blobs) == [out[2][1]]  # the deleted one has not come back


def test_logout_and_new_id(api, kind):
    change, expire = {"plack": ("$_[1]{change_id} = 1", "$_[1]{expire} = 1"),
                      "dancer2": ("$_[1]->change_session_id", "$_[1]->destroy_session")}[kind]
    out, _ = app(kind, f"""
        my $id = ask(counter())->[1];
        my $changed = ask(app(sub {{ $_[0]{{name}} = 'alice'; {change}; 1 }}), $id);
        say_json(ask(app(sub {{ "$_[0]{{n}} $_[0]{{name}}" }}), $changed->[1]));
        ask(app(sub {{ {expire}; 1 }}), $changed->[1]);
        say_json([$id, $changed->[1]]);
    """, api.address)
    assert out[0][2] == "1 alice" and out[1][0] != out[1][1]
    assert api.dead == set(out[1]) and not api.blobs
    assert (("POST", "rename", out[1][0]) in api.calls) == (kind == "dancer2")


def test_data_stay_what_they_are(api, kind):
    out, _ = app(kind, """
        { package Point; sub sum { $_[0]{x} + $_[0]{y} } }
        my $id = ask(app(sub { $_[0]{point} = bless { x => 1, y => 2 }, 'Point'; $_[0]{list} = ['a', "\\x{263a}", "\\xff", undef];
            $_[0]{same} = $_[0]{list}; 1 }))->[1];
        ask(app(sub { push @{ $_[0]{list} }, 'more'; 1 }), $id);    # inside, without an assignment
        say_json(ask(app(sub { my $s = $_[0];
            join ',', $s->{point}->sum, scalar @{ $s->{same} }, length $s->{list}[1], defined $s->{list}[3] ? 1 : 0 }), $id)->[2]);
        say_json(ask(app(sub { $_[0]{fine} = 1; $_[0]{block} = sub { 1 }; 1 }), $id));
    """, api.address)
    assert out[0] == "3,5,1,0"
    assert out[1][0] == 500
    if kind == "plack":
        assert "the session's 'block' cannot leave this process: Can't store CODE items" in out[1][2]


def test_a_page_that_changes_nothing_writes_nothing(api, kind):
    app(kind, "my $id = ask(counter())->[1]; ask(app(sub { my $n = $_[0]{n} + 1; 1 }), $id) for 1 .. 3", api.address)
    new = ["PUT", "PUT"] if kind == "dancer2" else ["PUT"]  # Dancer2 writes an empty session first
    assert [c[0] for c in api.calls] == [*new, "GET", "GET", "GET"] and api.connections == 1


# --- connections ---

@pytest.mark.parametrize("how", ["closed after each answer", "restarted"])
def test_a_kept_connection_that_has_ended(api, how):
    if how == "restarted":
        code = PLACK + "my $a = counter(); my $id = ask($a)->[1]; say_json(1); <STDIN>; say_json(ask($a, $id))"
        with subprocess.Popen(["perl", "-e", code], env=environment(api.address), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            program.stdout.readline()
            api.stop()
            api.start()
            out, _ = program.communicate(b"\n", timeout=30)
        assert json.loads(out)[2] == "2"
    else:
        api.close_after = 1
        out, _ = app("plack", "my $a = counter(); my $id = ask($a)->[1]; say_json([map { ask($a, $id)->[2] + 0 } 1 .. 20])", api.address)
        assert out == [list(range(2, 22))]


def test_a_signal_in_between_leaves_no_half_answer(api):
    out, _ = app("plack", """
        use Time::HiRes 'ualarm';
        my $big = ask(app(sub { $_[0]{big} = 'b' x 3_000_000; 1 }))->[1];
        my $other = ask(counter())->[1];
        for my $i (1 .. 50) {
            eval { local $SIG{ALRM} = sub { die "alarm\\n" }; ualarm(300 * ($i % 10) + 1); ask(app(sub { 1 }), $big); ualarm(0); };
            ualarm(0);
        }
        say_json([map { ask(counter(), $other)->[2] } 1 .. 3]);
    """, api.address)
    assert out == [["2", "3", "4"]]


def test_forks_have_connections_of_their_own(api):
    out, _ = app("plack", """
        my @ids = map { my $i = $_; ask(app(sub { $_[0]{who} = $i; 1 }))->[1] } 0 .. 3;
        my $a = app(sub { $_[0]{who} });
        my @pids = map {
            my $i = $_;
            my $pid = fork // die;
            $pid || do { ask($a, $ids[$i])->[2] eq $i or exit 1 for 1 .. 100; exit 0 }
        } 0 .. 3;
        ask($a, $ids[$_ % 4])->[2] eq $_ % 4 or exit 1 for 1 .. 100;
        say_json([map { waitpid $_, 0; $? } @pids]);
    """, api.address)
    assert out == [[0, 0, 0, 0]] and api.connections == 5


def test_threads_do_not_mix_answers(api):
    out, _ = app("plack", """
        use threads;
        my @ids = map { my $i = $_; ask(app(sub { $_[0]{who} = $i x 2000; 1 }))->[1] } 0 .. 3;
        my $a = app(sub { $_[0]{who} });
        my @t = map { my $i = $_; threads->create(sub { scalar grep { ask($a, $ids[$i])->[2] eq $i x 2000 } 1 .. 50 }) } 0 .. 3;
        say_json([map { $_->join } @t]);
    """, api.address)
    assert out == [[50] * 4] and api.connections == 5


def test_tcp():
    with FakeStateApi(None, port=free_port()) as api:
        out, said = app("plack", "my $a = counter(); my $id = ask($a)->[1]; say_json(ask($a, $id))", api.address)
        assert out[0][2] == "2" and said == hooked(STORE, api.address)


def test_an_address_that_is_none_is_an_error():
    out, _ = app("plack", "say_json(ask(counter()))", "/run/lethe/state.sock")
    assert out[0][0] == 500 and "write LETHE_STATE_API_LISTEN as unix:/path or 127.0.0.1:port" in out[0][2]


@pytest.mark.parametrize("preload", [["--preload-app"], []])
def test_starman_with_workers(api, kind, preload):
    """Processes that share a session with lethe, and do not without."""
    store, cookie = KINDS[kind]
    with Starman(kind, api.address, "--workers", "3", *preload) as starman:
        jar = {cookie: starman.json("/count")["id"]}
        answers = [starman.json("/count", jar) for _ in range(20)]
        assert [a["n"] for a in answers] == list(range(2, 22)) and {a["id"] for a in answers} == set(jar.values())
        wait_for(lambda: len(api.reports) == (1 if preload else 3), 10, "a report of each process that loaded the application")
        assert {line + "\n" for line in starman.process.err if "lethe: " in line} == {hooked(store, api.address)}
    with Starman(kind, None, "--workers", "3", *preload, opt="") as bare:
        def lost():
            sid = bare.json("/count")["id"]
            return any(bare.json("/count", {cookie: sid})["id"] != sid for _ in range(5))
        wait_for(lost, 30, "the worker that does not know the session")
