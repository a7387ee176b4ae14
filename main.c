// SPDX-License-Identifier: Apache-2.0
// The command line: which command, with which options, on which modules.
#include "crypto/jose.h"
#include "crypto/key_ring.h"
#include "crypto/token.h"
#include "base/clock.h"
#include "doctor.h"
#include "modules/modules.h"
#include "modules/session/command.h"
#include "probe.h"
#include "process.h"
#include "upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_CONFIG = 2, GROUPS_MAX = 32, DIAG_MAX = 256 << 10 };

static struct {
    int argc;
    char **argv; // behind the command's name
    const char *path;
    char **flags;
    unsigned n_flags;
    struct lt_option_group groups[GROUPS_MAX];
    unsigned n_groups;
    unsigned n_modules;
    bool for_tool; // not run: the store is all that is asked for
} program;

static void collect_groups(void) {
    for (unsigned i = 0; i < LT_CORE_GROUPS; i++)
        program.groups[program.n_groups++] = lt_core_groups[i];
    for (const struct lt_module *const *m = lt_modules; *m; m++, program.n_modules++)
        if ((*m)->options.prefix && program.n_groups < GROUPS_MAX)
            program.groups[program.n_groups++] = (*m)->options;
}

// Takes -c FILE and --config FILE out; the rest are flags of options.
static bool split_flags(void) {
    program.flags = calloc((size_t)program.argc + 1, sizeof *program.flags);
    for (int i = 0; program.flags && i < program.argc; i++) {
        char *arg = program.argv[i];
        if (strncmp(arg, "--config=", 9) == 0) {
            program.path = arg + 9;
        } else if (strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0) {
            if (++i == program.argc) {
                fprintf(stderr, "lethe: flag %s: no file; write \"%s /etc/lethe/lethe.conf\"\n", arg, arg);
                return false;
            }
            program.path = program.argv[i];
        } else {
            program.flags[program.n_flags++] = arg;
        }
    }
    return program.flags != NULL;
}

// To whoever reads the log, and to whoever asked: `why`, as much of it as there is room for.
static void report(const struct lt_diag *diag, char *why, size_t size) {
    size_t at = 0;
    for (const struct lt_finding *f = diag->first; f; f = f->next) {
        fprintf(stderr, "%.*s\n", (int)f->text.n, f->text.p);
        if (at < size)
            at += (size_t)snprintf(why + at, size - at, "%s%.*s", at ? "\n" : "", (int)f->text.n, f->text.p);
    }
}

// Loads and checks everything. NULL: reported. The snapshot has one reference.
static struct lt_snapshot *load_or_say(char *why, size_t size) {
    extern char **environ;
    struct lt_snapshot *s = calloc(1, sizeof *s);
    struct lt_arena arena;
    struct lt_diag diag;
    if (!s)
        return NULL;
    lt_arena_init(&arena, DIAG_MAX);
    lt_diag_init(&diag, &arena);
    s->references = 1;
    s->modules = lt_modules;
    s->n_modules = program.n_modules;
    struct lt_config_input in = {.path = program.path,
                                 .environment = environ,
                                 .flags = program.flags,
                                 .n_flags = program.n_flags,
                                 .for_tool = program.for_tool};
    bool ok = lt_config_load(&s->config, program.groups, program.n_groups, &in, &diag);
    ok = ok && lt_core_conf_of(&s->config, &s->config.arena, !program.for_tool, &s->core, &diag);
    for (const struct lt_module *const *m = lt_modules; ok && !program.for_tool && *m; m++)
        if ((*m)->check)
            (*m)->check(&s->config, &diag);
    report(&diag, why, size);
    ok = ok && diag.n == 0;
    lt_arena_fini(&arena);
    if (ok)
        return s;
    lt_snapshot_put(s);
    return NULL;
}

static struct lt_snapshot *load(void) {
    return load_or_say(NULL, 0);
}

static struct lt_snapshot *reload(char *why, size_t size) {
    struct lt_snapshot *s = load_or_say(why, size);
    if (!s)
        LT_LOG(LT_LOG_ERROR, "reload_failed", lt_fs("do", "mend what is reported above; the old configuration stays"));
    return s;
}

static int command_run(void) {
    lt_upgrade_init(program.argv - 2);
    struct lt_snapshot *s = load();
    return s ? lt_process_run(s, reload) : EXIT_CONFIG;
}

static int command_check(void) {
    struct lt_snapshot *s = load();
    if (!s)
        return EXIT_CONFIG;
    printf("%s: ok\n", program.path ? program.path : "configuration");
    lt_snapshot_put(s);
    return 0;
}

static int command_config(void) {
    struct lt_snapshot *s = load();
    if (!s)
        return EXIT_CONFIG;
    lt_config_print(&s->config, stdout);
    lt_snapshot_put(s);
    return 0;
}

// "--admin=ADDRESS" or "--admin ADDRESS" alone is enough to ask a running process.
static const char *admin_flag(void) {
    for (unsigned i = 0; i < program.n_flags; i++) {
        if (strncmp(program.flags[i], "--admin=", 8) == 0)
            return program.flags[i] + 8;
        if (strcmp(program.flags[i], "--admin") == 0 && i + 1 < program.n_flags)
            return program.flags[i + 1];
    }
    return NULL;
}

static int command_doctor(void) {
    if (admin_flag())
        return lt_doctor_ask(lt_span_cstr(admin_flag()));
    struct lt_snapshot *s = load();
    if (!s)
        return EXIT_CONFIG;
    int code = lt_doctor_ask(s->core.top->admin);
    lt_snapshot_put(s);
    return code;
}

// What a container's health check runs, again and again: where the flag or the environment say all that it needs, a file that was
// broken since (which a reload would refuse) does not make a healthy process look ill.
static int command_probe(void) {
    static const char *const names[] = {"livez", "readyz", "startupz"};
    const char *name = names[0], *admin = admin_flag();
    if (program.n_flags && program.flags[0][0] != '-') {
        name = NULL;
        for (unsigned i = 0; i < 3; i++)
            if (strcmp(program.flags[0], names[i]) == 0)
                name = names[i];
        if (!name) {
            fprintf(stderr, "lethe: probe: \"%s\"; write \"livez\", \"readyz\" or \"startupz\"\n", program.flags[0]);
            return 1;
        }
        memmove(program.flags, program.flags + 1, --program.n_flags * sizeof *program.flags);
    }
    admin = admin ? admin : getenv("LETHE_ADMIN");
    if (admin)
        return lt_probe_ask(lt_span_cstr(admin), name);
    program.for_tool = true;
    struct lt_snapshot *s = load();
    int code = s ? lt_probe_ask(s->core.top->admin, name) : 1;
    lt_snapshot_put(s);
    return code;
}

// As the probe: a broken file must not keep anybody from ending the process that still runs with the old one.
static int control(enum lt_ask what) {
    const char *admin = admin_flag() ? admin_flag() : getenv("LETHE_ADMIN");
    if (admin)
        return lt_control_command(what, lt_span_cstr(admin));
    program.for_tool = true;
    struct lt_snapshot *s = load();
    int code = s ? lt_control_command(what, s->core.top->admin) : EXIT_CONFIG;
    lt_snapshot_put(s);
    return code;
}

static int command_reload(void) {
    return control(LT_ASK_RELOAD);
}

static int command_drain(void) {
    return control(LT_ASK_DRAIN);
}

static int command_quit(void) {
    return control(LT_ASK_QUIT);
}

static int command_upgrade(void) {
    return control(LT_ASK_UPGRADE);
}

static bool is_hash(const char *arg) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return strlen(arg) == LT_TOKEN_HASH_TEXT && strspn(arg, digits) == LT_TOKEN_HASH_TEXT;
}

// The operand and the flags of its own are taken out of what is left for the configuration.
static bool session_arguments(struct session_command *command) {
    static const char *const verbs[] = {"list", "show", "revoke"};
    unsigned kept = 0;
    int verb = -1;
    for (unsigned i = 0; i < program.n_flags; i++) {
        char *arg = program.flags[i];
        bool more = i + 1 < program.n_flags;
        if (verb < 0) {
            for (int v = 0; v < 3; v++)
                verb = strcmp(arg, verbs[v]) == 0 ? v : verb;
            if (verb < 0)
                return false;
        } else if (strcmp(arg, "--all") == 0) {
            command->all = true;
        } else if (strcmp(arg, "--token") == 0 && more) {
            command->token = program.flags[++i];
        } else if (strcmp(arg, "--cookie") == 0 && more) {
            command->cookie = program.flags[++i];
        } else if (i == 1 && (arg[0] != '-' || is_hash(arg))) { // one hash in 64 begins with "-"
            command->hash = arg;
        } else {
            program.flags[kept++] = arg;
        }
    }
    program.n_flags = kept;
    command->verb = (enum session_verb)verb;
    return verb >= 0;
}

static int command_session(void) {
    struct session_command command = {.hash = NULL};
    if (!session_arguments(&command)) {
        fprintf(stderr, "lethe: session: write \"list\", \"show HASH\" or \"revoke HASH\" (or --token TOKEN, --cookie "
                        "NAME=VALUE, --all), and "
                        "--store as the replicas have it\n");
        return EXIT_CONFIG;
    }
    program.for_tool = true;
    struct lt_snapshot *s = load();
    int code = s ? session_command_run(&s->config, &command) : EXIT_CONFIG;
    lt_snapshot_put(s);
    return code;
}

static int no_random(void) {
    fprintf(stderr, "lethe: keygen: the system gives no random bytes\n");
    return 1;
}

// --alg EdDSA, --alg ES256: a key pair for the option jwt.keys.
static int print_pair(const char *alg) {
    for (int i = 0; lt_jose_algs[i]; i++)
        if (strcmp(alg, lt_jose_algs[i]) == 0 && lt_jose_is_asymmetric((enum lt_jose_alg)i))
            return lt_jose_new_pem((enum lt_jose_alg)i, stdout) ? 0 : no_random();
    fprintf(
        stderr,
        "lethe: keygen: no key pairs for \"%s\"; write \"--alg EdDSA\", \"--alg ES256\", or no --alg for the ring\n",
        alg);
    return EXIT_CONFIG;
}

static int command_keygen(void) {
    struct lt_key key;
    char text[128];
    if (program.n_flags == 2 && strcmp(program.flags[0], "--alg") == 0)
        return print_pair(program.flags[1]);
    if (program.n_flags == 1 && strncmp(program.flags[0], "--alg=", 6) == 0)
        return print_pair(program.flags[0] + 6);
    if (!lt_key_new(&key, lt_clock_wall()))
        return no_random();
    lt_key_format(&key, text, sizeof text);
    puts(text);
    return 0;
}

// The date is the release's, kept by hand.
static void print_heading(const char *name, const char *section, const char *about) {
    printf(".\\\" SPDX-License-Identifier: Apache-2.0\n.\\\" Printed by \"lethe reference --man %s\".\n", section);
    printf(".TH %s %s 2026-11-25 \"lethe %s\" \"\"\n.SH NAME\n%s\n", name, section, LETHE_VERSION, about);
}

static void print_manual_of_options(void) {
    print_heading("LETHE.CONF", "5", "lethe.conf \\- options of lethe");
    puts(".SH DESCRIPTION");
    lt_config_man(program.groups, program.n_groups, stdout);
    puts(".SH SEE ALSO\n.BR lethe (8)");
}

static void print_manual_of_commands(void);

static int command_reference(void) {
    if (program.n_flags == 2 && strcmp(program.flags[0], "--man") == 0 && strcmp(program.flags[1], "5") == 0) {
        print_manual_of_options();
    } else if (program.n_flags == 2 && strcmp(program.flags[0], "--man") == 0 && strcmp(program.flags[1], "8") == 0) {
        print_manual_of_commands();
    } else if (program.n_flags) {
        fprintf(stderr,
                "lethe: reference: write \"lethe reference\", or \"--man 5\" or \"--man 8\" for a manual page\n");
        return EXIT_CONFIG;
    } else {
        lt_config_reference(program.groups, program.n_groups, stdout);
    }
    return 0;
}

static int command_version(void) {
    puts("lethe " LETHE_VERSION);
    return 0;
}

static int command_help(void);

static const struct command {
    const char *name, *summary;
    int (*run)(void);
} commands[] = {
    {"run", "run the proxy", command_run},
    {"check", "read the configuration, report everything that is wrong with it", command_check},
    {"config", "print the effective values and where each came from", command_config},
    {"doctor", "ask a running lethe (its admin listener) what is carried, what is not, and what to set", command_doctor},
    {"probe", "health check: ask the running lethe (its admin listener) for livez, readyz or startupz; exit code 0 or 1",
     command_probe},
    {"reload",
     "have the running lethe (its admin listener) read its configuration again; says what is wrong with a bad one",
     command_reload},
    {"drain", "have it end as SIGTERM does: it serves until no request comes any more, then ends what runs",
     command_drain},
    {"quit", "have it end without waiting for further requests: the last step of a Job", command_quit},
    {"upgrade", "have it replaced by the program that stands at its path now, without losing a connection",
     command_upgrade},
    {"session", "list, show or revoke sessions in the store: list | show HASH | revoke HASH (--token, --cookie, --all)",
     command_session},
    {"keygen", "print a new key for the option \"keys\" (--alg EdDSA or ES256: for \"jwt.keys\", as PEM)", command_keygen},
    {"reference", "print the reference of all options (Markdown; --man 5 or --man 8: a manual page)", command_reference},
    {"version", "print the version", command_version},
    {"help", "print this", command_help},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_manual_of_commands(void) {
    print_heading("LETHE", "8", "lethe \\- a sidecar that makes stateful web applications replicable");
    puts(".SH SYNOPSIS\n.B lethe\n.I command\n[\n.B \\-c\n.I file\n] [\n.BI \\-\\- option= value\n\\&.\\|.\\|.\n]");
    puts(
        ".SH DESCRIPTION\nA reverse proxy beside each replica of a web application.\n"
        "Sessions that the application keeps in cookies, files or memory are kept in a store that all replicas share.\n"
        ".SH COMMANDS");
    for (unsigned i = 0; i < COMMANDS; i++) {
        printf(".TP\n.B %s\n", commands[i].name);
        for (const char *p = commands[i].summary; *p; p++)
            fputs(*p == '-' ? "\\-" : (char[]){*p, '\0'}, stdout);
        puts(".");
    }
    puts(".SH SIGNALS\n.TP\n.B SIGHUP\nReads the configuration anew; a bad one is reported and changes nothing.\n"
         ".TP\n.BR SIGTERM , \" SIGINT\"\nDrains for at most\n.B timeouts.drain\nand ends; a second one ends at once.\n"
         ".TP\n.B SIGUSR2\nStarts the program that stands at its path now, gives it the listening sockets, and drains "
         "once that\n"
         "one accepts; if it does not, goes on.\n"
         ".SH EXIT STATUS\n.TP\n0\nEnded as told.\n.TP\n1\nIt could not run, or\n.B doctor\nfound something.\n"
         ".TP\n2\nThe configuration or the command line is wrong.\n"
         ".SH ENVIRONMENT\nEach option has a variable: see\n.BR lethe.conf (5).\n"
         ".BR NOTIFY_SOCKET ,\n.B WATCHDOG_USEC\nand\n.B WATCHDOG_PID\nare those of a service manager, as in\n.BR "
         "sd_notify (3);\n.BR LISTEN_FDS ,\n.B LISTEN_FDNAMES\nand\n.B LISTEN_PID\nas in\n.BR sd_listen_fds (3).\n"
         ".SH SEE ALSO\n.BR lethe.conf (5)");
}

static int command_help(void) {
    puts("lethe: a sidecar that makes stateful web applications replicable\n\n"
         "  lethe COMMAND [-c FILE] [--option VALUE ...]\n");
    for (unsigned i = 0; i < COMMANDS; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    puts("\nThe short way, with no file at all:\n\n"
         "  lethe run --listen 127.0.0.1:8080 --upstream 127.0.0.1:3000 --store redis://127.0.0.1:6379/0\n\n"
         "Options (file < environment LETHE_* < flag; \"lethe reference\" explains them):\n");
    lt_config_usage(program.groups, program.n_groups, stdout);
    return 0;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        program.argc = argc - 2;
        program.argv = argv + 2;
        collect_groups();
        int code = split_flags() ? commands[i].run() : EXIT_CONFIG;
        free(program.flags);
        return code;
    }
    fprintf(stderr, "lethe: %s%s%s; write \"lethe run\", or \"lethe help\" for all commands\n",
            *name ? "unknown command \"" : "no command", name, *name ? "\"" : "");
    return EXIT_CONFIG;
}
