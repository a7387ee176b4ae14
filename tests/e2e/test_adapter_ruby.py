# SPDX-License-Identifier: Apache-2.0
"""adapters/ruby/lethe.rb with Rack::Session::Pool, against a stand-in of the state API. The whole way is in test_stacks.py (sinatra)."""
import json
import os
import subprocess
import time

import pytest
import requests
from fake_state_api import FakeStateApi

from rig import free_port, wait_for
from rig.base import accepts
from rig.servers import _Server

HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTER = os.path.realpath(os.path.join(HERE, "..", "..", "adapters", "ruby", "lethe.rb"))
SINATRA = os.path.join(HERE, "apps", "ruby", "sinatra.ru")
HOOKED = "lethe: ruby: hooked Rack::Session::Pool: its sessions are kept by lethe at "

# An application in this process: ask(path, cookie) gives [status, the session's id, body]. An error is what a server makes a 500 of.
RACK = """
require 'rack'
def app(&page)
  inner = ->(env) { [200, {}, [page.call(env['rack.session'], env).to_s]] }
  Rack::MockRequest.new(Rack::Builder.new { use Rack::Session::Pool; run inner }.to_app)
end
def ask(app, id = nil)
  answer = app.get('/', id ? { 'HTTP_COOKIE' => "rack.session=#{id}" } : {})
  [answer.status, answer['Set-Cookie'].to_s[/rack.session=([^;]+)/, 1] || id, answer.body]
rescue => e
  [500, id, "#{e.class}: #{e.message}"]
end
def counter
  app { |s| s[:n] = (s[:n] || 0) + 1 }
end
"""


@pytest.fixture(name="api")
def api_fixture(short_dir):
    with FakeStateApi(short_dir) as api:
        yield api


def environment(address, rubyopt=f"-r{ADAPTER}"):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_") and k != "RUBYOPT"}
    return {**env, "RUBYOPT": rubyopt, **({"LETHE_STATE_API_LISTEN": address} if address else {})}


def ruby(code, address, rubyopt=f"-r{ADAPTER}", seconds=60):
    """Runs the code; what it printed as JSON, one value a line, and its stderr."""
    done = subprocess.run(["ruby", "-rjson", "-e", code], env=environment(address, rubyopt), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()], done.stderr.decode()


def rack(code, address, **how):
    return ruby(RACK + code, address, **how)


class Puma(_Server):
    def __init__(self, address, *args, rubyopt=f"-r{ADAPTER}"):
        super().__init__()
        port = free_port()
        self.address, self.args = f"127.0.0.1:{port}", args
        self.environment = {**environment(address, rubyopt), "REPLICA": "0", "RACK_ENV": "production"}

    def argv(self):
        return ["puma", "--no-config", *self.args, "-b", f"tcp://{self.address}", SINATRA]

    def env(self):
        return self.environment

    def json(self, path, cookies=None):
        answer = requests.get(f"http://{self.address}{path}", cookies=cookies, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


# --- what it says ---

def test_says_that_it_hooked_and_the_session_is_elsewhere(api):
    """Two programs, one session. The same without the adapter is lost."""
    first, said = rack("p_ = ask(counter); puts JSON.generate(p_)", api.address)
    (status, sid, body), = first
    assert (status, body) == (200, "1") and said == HOOKED + api.address + "\n"
    assert api.reports == [("ruby", "Rack::Session::Pool", "hooked", f"its sessions are kept by lethe at {api.address}")]
    assert list(api.blobs) == [sid]  # under the id of the cookie
    second, _ = rack(f"puts JSON.generate(ask(counter, '{sid}'))", api.address)
    assert second == [[200, sid, "2"]]
    without, said = rack(f"puts JSON.generate(ask(counter, '{sid}'))", api.address, rubyopt="")
    assert without[0][2] == "1" and said == ""


def test_says_that_it_has_no_address():
    out, said = rack("a = counter; id = ask(a)[1]; puts JSON.generate(ask(a, id))", None)
    assert out[0][2] == "2"  # in memory, as ever
    assert said == ("lethe: ruby: failed Rack::Session::Pool: LETHE_STATE_API_LISTEN is not set; "
                    "give the application the same value as lethe\n")


def test_says_that_another_store_is_used(api):
    _, said = ruby("require 'rack'; 2.times { Rack::Session::Cookie.new(->(_) {}, secret: 'x' * 64) }", api.address)
    assert said == ("lethe: ruby: failed Rack::Session::Cookie: it is not Rack::Session::Pool, so lethe does not carry its sessions\n")
    assert [r[1:3] for r in api.reports] == [("Rack::Session::Cookie", "failed")]


def test_says_that_a_subclass_goes_its_own_way(api):
    _, said = ruby("require 'rack'; class Mine < Rack::Session::Pool; def write_session(*) = super; end; Mine.new(->(_) {})", api.address)
    assert "lethe: ruby: failed Mine: it has its own write_session, so lethe does not carry its sessions\n" in said


def test_says_that_the_pool_is_strange(api):
    _, said = ruby("module Rack; module Session; class Pool; def find_session(a); end; end; end; end", api.address)
    assert said.startswith("lethe: ruby: failed Rack::Session::Pool: its find_session is not that of Rack 2 or rack-session 2")
    assert [r[1:3] for r in api.reports] == [("Rack::Session::Pool", "failed")]


def test_a_pool_that_is_loaded_before(api):
    _, said = ruby("", api.address, rubyopt=f"-rrack -rrack/session/pool -r{ADAPTER}")
    assert said == HOOKED + api.address + "\n"


def test_a_program_without_rack_hears_nothing(api):
    assert ruby("puts 1", api.address) == ([1], "") and not api.reports and not api.connections


def test_the_users_own_rubyopt_is_kept(api, tmp_path):
    own = tmp_path / "own.rb"
    own.write_text("OWN = 7\n")
    out, said = rack("puts OWN", api.address, rubyopt=f"-r{own} -r{ADAPTER}")
    assert out == [7] and said == ""
    out, said = rack("puts OWN; Rack::Session::Pool", api.address, rubyopt=f"-r{own} -r{ADAPTER}")
    assert out == [7] and said == HOOKED + api.address + "\n"
    assert ruby("puts 1", api.address, rubyopt=f" -r{ADAPTER}")[0] == [1]  # "$RUBYOPT -r…" with nothing in it


def test_lethe_starts_after_the_application(api):
    """What it hooked is told as soon as somebody listens."""
    api.stop()
    code = "a = counter; puts JSON.generate(ask(a)); $stdout.flush; $stdin.gets; 2.times { puts JSON.generate(ask(a)) }"
    with subprocess.Popen(["ruby", "-rjson", "-e", RACK + code], env=environment(api.address), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        early = json.loads(program.stdout.readline())
        assert early[0] == 500 and "does not answer" in early[2]
        assert not api.reports
        api.start()
        out, said = program.communicate(b"\n", timeout=30)
    assert [json.loads(line)[2] for line in out.splitlines()] == ["1", "1"]
    assert len(api.reports) == 1 and api.reports[0][2] == "hooked" and said.decode().count("lethe: ruby:") == 1


# --- what the application sees ---

def test_a_session_that_is_not_there_gets_a_new_id(api):
    api.dead.add("d" * 64)
    for sid in ("a" * 64, "d" * 64, "x" * 600, "%00/../?&"):
        (answer,), _ = rack(f"puts JSON.generate(ask(counter, '{sid}'))", api.address)
        assert answer[0] == 200 and answer[2] == "1" and answer[1] != sid
    assert all(len(i) == 64 for i in api.blobs)


@pytest.mark.parametrize("state", ["away", "broken", "hang", "stopped", "foreign"])
def test_a_session_that_nobody_can_tell_of_is_an_error(api, state):
    """Never a new session: the cookie would be replaced, and the session be lost for good."""
    (first,), _ = rack("puts JSON.generate(ask(counter))", api.address)
    sid = first[1]
    blob = api.blobs[sid]
    if state == "hang":
        api.hang.set()
    elif state == "stopped":
        api.stop()
    elif state == "foreign":
        api.blobs[sid] = blob.split(b"\n", 1)[1]  # Marshal's bytes without the adapter's word before them
    else:
        setattr(api, state, True)
    began = time.monotonic()
    (answer,), _ = rack(f"puts JSON.generate(ask(counter, '{sid}'))", api.address)
    assert answer[:2] == [500, sid] and answer[2].startswith("Lethe::Error: lethe: ")
    assert time.monotonic() - began < 9
    if state == "foreign":
        assert "written by another adapter" in answer[2]
        api.blobs[sid] = blob
    api.away = api.broken = False
    api.hang.clear()
    if state == "stopped":
        api.start()
    (answer,), _ = rack(f"puts JSON.generate(ask(counter, '{sid}'))", api.address)
    assert answer == [200, sid, "2"]


def test_a_write_that_fails_is_an_error_and_one_after_the_logout_is_dropped(api):
    out, _ = rack("""
        id = ask(counter)[1]
        puts JSON.generate(ask(app { |s| s[:big] = 'b' * 5_000_000 }, id))
        answer = app { |s| s[:n] = 5; Lethe.delete(id); 'late' }.get('/', 'HTTP_COOKIE' => "rack.session=#{id}")
        puts JSON.generate([answer.status, answer['Set-Cookie'], answer.body, answer.errors, id])
        puts JSON.generate(ask(counter, id))
    """, api.address)
    assert out[0][0] == 500 and "413 blob_too_large" in out[0][2]
    assert out[1][:3] == [200, None, "late"] and "failed to save session" in out[1][3]
    assert out[2][2] == "1" and list(api.blobs) == [out[2][1]] != [out[1][4]]  # the deleted one has not come back


def test_logout_and_renewal(api):
    out, _ = rack("""
        id = ask(counter)[1]
        renewed = ask(app { |s, env| env['rack.session.options'][:renew] = true; s[:name] = 'alice' }, id)
        gone = ask(app { |s| s.destroy }, renewed[1])
        dropped = ask(app { |s, env| env['rack.session.options'][:drop] = true }, gone[1])
        puts JSON.generate([id, renewed[1], gone[1], dropped[1]])
    """, api.address)
    (first, renewed, gone, _), = out
    assert len({first, renewed, gone}) == 3 and api.dead >= {first, renewed, gone}
    assert not api.blobs


def test_objects_stay_what_they_are(api):
    out, _ = rack("""
        Point = Struct.new(:x, :y)
        a = app { |s| s[:point] = Point.new(1, :two); s[:list] = [Time.at(0), 2**70, "\\xff".b]; s['nil'] = nil }
        id = ask(a)[1]
        ask(app { |s| s[:list] << 'more' }, id) # inside, without an assignment
        show = app { |s| [s[:point].class, s[:point].y.class, s[:list][0].class, s[:list][1] == 2**70, s[:list].size] }
        puts JSON.generate(ask(show, id)[2])
        puts JSON.generate(ask(app { |s| s[:fine] = 1; s[:block] = -> {} }, id))
    """, api.address)
    assert out[0] == "[Point, Symbol, Time, true, 4]"
    assert out[1][0] == 500 and 'session["block"] cannot leave this process' in out[1][2]


def test_a_page_that_changes_nothing_writes_nothing(api):
    rack("id = ask(counter)[1]; 3.times { ask(app { |s| s[:n] }, id) }; ask(app { |_| 1 }, id)", api.address)
    assert [c[0] for c in api.calls] == ["PUT", "GET", "GET", "GET"] and api.connections == 1


# --- connections ---

@pytest.mark.parametrize("how", ["closed after each answer", "restarted"])
def test_a_kept_connection_that_has_ended(api, how):
    if how == "restarted":
        code = "a = counter; id = ask(a)[1]; $stdout.puts 1; $stdout.flush; $stdin.gets; puts JSON.generate(ask(a, id))"
        with subprocess.Popen(["ruby", "-rjson", "-e", RACK + code], env=environment(api.address), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as program:
            program.stdout.readline()
            api.stop()
            api.start()
            out, _ = program.communicate(b"\n", timeout=30)
        assert json.loads(out)[2] == "2"
    else:
        api.close_after = 1
        out, _ = rack("a = counter; id = ask(a)[1]; puts JSON.generate((1..20).map { ask(a, id)[2].to_i })", api.address)
        assert out == [list(range(2, 22))]


def test_a_thread_that_is_killed_leaves_no_half_answer(api):
    out, _ = rack("""
        require 'timeout'
        id = ask(app { |s| s[:big] = 'b' * 3_000_000 })[1]
        other = ask(counter)[1]
        50.times { |i| begin; Timeout.timeout(0.0005 * (i % 10)) { ask(app { |s| s[:big] }, id) }; rescue Timeout::Error; end }
        puts JSON.generate((1..3).map { ask(counter, other)[2] })
    """, api.address)
    assert out == [["2", "3", "4"]]


def test_forks_have_connections_of_their_own(api):
    out, _ = rack("""
        a = app { |s| s[:who] ||= 'parent'; s[:who] }
        ids = (0..3).map { |i| ask(app { |s| s[:who] = i })[1] }
        pids = (0..3).map { |i| fork { 100.times { exit!(1) unless ask(a, ids[i])[2] == i.to_s }; exit!(0) } }
        100.times { |i| exit!(1) unless ask(a, ids[i % 4])[2] == (i % 4).to_s }
        puts JSON.generate(pids.map { |p| Process.wait2(p)[1].exitstatus })
    """, api.address)
    assert out == [[0, 0, 0, 0]] and api.connections == 5


def test_threads_do_not_mix_answers(api):
    out, _ = rack("""
        ids = (0..7).map { |i| ask(app { |s| s[:who] = i.to_s * 2000 })[1] }
        a = app { |s| s[:who] }
        puts JSON.generate((0..7).map { |i| Thread.new { (0..99).count { ask(a, ids[i])[2] == i.to_s * 2000 } } }.map(&:value))
    """, api.address)
    assert out == [[100] * 8] and api.connections <= 8


def test_tcp():
    with FakeStateApi(None, port=free_port()) as api:
        out, said = rack("a = counter; id = ask(a)[1]; puts JSON.generate(ask(a, id))", api.address)
        assert out[0][2] == "2" and said == HOOKED + api.address + "\n"


def test_an_address_that_is_none_is_an_error():
    out, _ = rack("puts JSON.generate(ask(counter))", "/run/lethe/state.sock")
    assert out[0][0] == 500 and "write unix:/path or 127.0.0.1:port" in out[0][2]


@pytest.mark.parametrize("preload", [["--preload"], []])
def test_puma_with_workers_and_threads(api, preload):
    """Processes that share a session with lethe, and do not without."""
    with Puma(api.address, "-w", "2", "-t", "4:4", *preload) as puma:
        jar = {"rack.session": puma.json("/count")["id"]}
        answers = [puma.json("/count", jar) for _ in range(20)]
        assert [a["n"] for a in answers] == list(range(2, 22)) and {a["id"] for a in answers} == set(jar.values())
        assert puma.process.err and all(HOOKED in line for line in puma.process.err if "lethe: " in line)
        wait_for(lambda: len(api.reports) == (1 if preload else 2), 10, "a report of each process that loaded the application")
    with Puma(None, "-w", "2", "-t", "4:4", *preload, rubyopt="") as bare:
        wait_for(lambda: accepts(bare.address), 10, "puma")

        def lost():
            sid = bare.json("/count")["id"]
            return any(bare.json("/count", {"rack.session": sid})["id"] != sid for _ in range(5))
        wait_for(lost, 30, "the worker that does not know the session")
