// SPDX-License-Identifier: Apache-2.0
// Preloaded into a program under test: the library $WITHOUT_LIBRARY is not on this machine.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void *open_fn(const char *, int);

void *dlopen(const char *name, int flags) {
    open_fn *open;
    void *real = dlsym(RTLD_NEXT, "dlopen");
    memcpy(&open, &real, sizeof open);
    const char *without = getenv("WITHOUT_LIBRARY");
    return without && name && strcmp(name, without) == 0 ? NULL : open(name, flags);
}
