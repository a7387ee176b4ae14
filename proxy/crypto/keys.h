// SPDX-License-Identifier: Apache-2.0
// The key ring that the option `keys` names.
#pragma once

#include "crypto/key_ring.h"

// `option`: entries separated by commas or blanks, in the order of the ring: "id:secret"; "file:/path", all keys of a file;
// "dir:/path", all files of a directory in the order of their names (hidden ones, like those of a mounted secret, and directories
// are passed over). False: `error` says what is wrong and where, and what to write, without any secret. The ring is then empty.
bool lt_keys_load(struct lt_key_ring *ring, struct lt_span option, char *error, size_t size);

// A number that changes when one of the files that the option names is replaced or written to. 0: it names none.
uint64_t lt_keys_stamp(struct lt_span option);

// Without the option. For the sealed store: one key made for the life of this process. For Redis: a ring whose key is public, so that
// only the client's token opens a record. Warns once in a process.
bool lt_keys_default(struct lt_key_ring *ring, bool sealed);
