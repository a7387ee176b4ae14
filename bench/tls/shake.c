// SPDX-License-Identifier: Apache-2.0
// A TLS client for what wrk does not do. On the loopback interface, no certificate is looked at.
//
//   shake full   PORT SECONDS   a connection a request, a full handshake each
//   shake resume PORT SECONDS   the same, each with the ticket of the one before; a handshake that is not resumed ends the run
//   shake hold   PORT COUNT     COUNT connections do one request each and stay; prints "ready" and waits to be ended
//
// Any answer but 200 ends the run. full and resume print one line of JSON: how many there were.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};
static SSL_CTX *ctx;
static SSL_SESSION *ticket;

__attribute__((noreturn)) static void fail(const char *what) {
    fprintf(stderr, "shake: %s\n", what);
    exit(1);
}

static int keep_ticket(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static SSL *open_one(bool resume) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (resume && ticket)
        SSL_set_session(ssl, ticket);
    if (SSL_connect(ssl) != 1)
        fail("no handshake");
    if (resume && ticket && !SSL_session_reused(ssl))
        fail("not resumed");
    return ssl;
}

// One request; its answer has Content-Length and comes whole within a few reads.
static void one_turn(SSL *ssl, const char *request) {
    char in[8192];
    int n = 0;
    if (SSL_write(ssl, request, (int)strlen(request)) <= 0)
        fail("no request");
    for (const char *body = NULL; !body || in + n < body + 200;) {
        int got = SSL_read(ssl, in + n, (int)sizeof in - 1 - n);
        if (got <= 0)
            fail("no answer");
        n += got;
        in[n] = '\0';
        body = strstr(in, "\r\n\r\n");
        body = body ? body + 4 : NULL;
    }
    if (strncmp(in, "HTTP/1.1 200", 12) != 0)
        fail("another answer than 200");
}

static void close_one(SSL *ssl) {
    int fd = SSL_get_fd(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 4)
        fail("write full, resume or hold, the port, and seconds or a count");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    bool hold = strcmp(argv[1], "hold") == 0, resume = strcmp(argv[1], "resume") == 0;
    int number = atoi(argv[3]);
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
    if (hold) {
        for (int i = 0; i < number; i++)
            one_turn(open_one(false), "GET /200 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        puts("ready");
        fflush(stdout);
        for (;;)
            pause();
    }
    unsigned long done = 0;
    double began = now(), took;
    for (took = 0; took < number; took = now() - began, done++) {
        SSL *ssl = open_one(resume);
        one_turn(ssl, "GET /200 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        close_one(ssl);
    }
    printf("{\"requests\": %lu, \"us\": %.0f}\n", done, took * 1e6);
    return 0;
}
