# SPDX-License-Identifier: Apache-2.0
"""Which programs take part in which case. Each is started once, when a case first asks for it, and checked in every case before it is
timed."""
from compare import measure


def starters(stage):
    """{group: [(name, how it is started)]}, in the order of the report."""
    def lethe(name, store, **how):
        program = stage.start_lethe(name, store, **how)
        program.store = stage.redis if store.startswith("redis:") else None
        return program

    url = stage.redis_url()
    plain = [("relay", stage.start_relay), ("HAProxy", stage.start_haproxy), ("nginx", stage.start_nginx),
             ("lethe", lambda: stage.start_full_lethe("lethe"))]
    sessions = [("nginx+Lua", stage.start_lua), ("lethe, redis", lambda: lethe("lethe, redis", url)),
                ("lethe, sealed", lambda: lethe("lethe, sealed", "sealed"))]
    splicing = ("HAProxy, splice", lambda: stage.start_haproxy(name="HAProxy, splice", more="option splice-auto"))
    return {
        "plain": plain,
        "session": plain[:3] + sessions,
        "bulk": [*plain[:2], splicing, *plain[2:]],
        "keeping": plain[1:],
        "two": [("HAProxy, 2", lambda: stage.start_haproxy(name="HAProxy, 2", workers=2)),
                ("nginx, 2", lambda: stage.start_nginx(name="nginx, 2", workers=2)),
                ("lethe, 2", lambda: stage.start_full_lethe("lethe, 2", workers=2))],
        "slow": [("direct", stage.direct), *plain[1:]],
        "logging": [("HAProxy+log", lambda: stage.start_haproxy(True, "HAProxy+log")),
                    ("nginx+log", lambda: stage.start_nginx(True, "nginx+log")),
                    ("lethe+log", lambda: stage.start_full_lethe("lethe+log", logs=True))],
    }


def programs_for(stage, case):
    """Started where they are not yet, and found to answer the case rightly."""
    if not hasattr(stage, "started"):
        stage.started = {}
    programs = []
    for name, start in starters(stage)[case.group]:
        if name not in stage.started:
            stage.started[name] = start()
        program = stage.started[name]
        if case.session:
            measure.log_in(program)
        measure.check_one(program, case)
        programs.append(program)
    return programs
