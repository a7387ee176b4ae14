// SPDX-License-Identifier: Apache-2.0
// libpq, loaded when the first PostgreSQL store is asked for: it drags in GnuTLS, Kerberos and LDAP, a third of the memory of a lethe
// that never uses it. The types are its header's, so that the compiler checks each call.
#pragma once

#include <libpq-fe.h>

#define LT_PQ_FUNCTIONS(X)                                                                                             \
    X(PQclear)                                                                                                         \
    X(PQconnectPoll)                                                                                                   \
    X(PQconnectStartParams)                                                                                            \
    X(PQconninfoFree)                                                                                                  \
    X(PQconninfoParse)                                                                                                 \
    X(PQconsumeInput)                                                                                                  \
    X(PQenterPipelineMode)                                                                                             \
    X(PQerrorMessage)                                                                                                  \
    X(PQfinish)                                                                                                        \
    X(PQflush)                                                                                                         \
    X(PQfreemem)                                                                                                       \
    X(PQgetResult)                                                                                                     \
    X(PQgetlength)                                                                                                     \
    X(PQgetvalue)                                                                                                      \
    X(PQisBusy)                                                                                                        \
    X(PQntuples)                                                                                                       \
    X(PQpipelineSync)                                                                                                  \
    X(PQresultErrorField)                                                                                              \
    X(PQresultErrorMessage)                                                                                            \
    X(PQresultStatus)                                                                                                  \
    X(PQsendPrepare)                                                                                                   \
    X(PQsendQuery)                                                                                                     \
    X(PQsendQueryPrepared)                                                                                             \
    X(PQsetNoticeReceiver)                                                                                             \
    X(PQsetnonblocking)                                                                                                \
    X(PQsocket)                                                                                                        \
    X(PQsslStruct)                                                                                                     \
    X(PQstatus)

struct lt_pq {
#define LT_PQ_MEMBER(name) __typeof__(name) *(name);
    LT_PQ_FUNCTIONS(LT_PQ_MEMBER)
#undef LT_PQ_MEMBER
};

// All NULL before lt_pq_load() has said yes; does not change afterwards.
extern struct lt_pq lt_pq;

// Loads it, once for the process and for good; from any thread. NULL: it is there; or what to install.
const char *lt_pq_load(void);
