// SPDX-License-Identifier: Apache-2.0
// 1 in a build with AddressSanitizer: memory is then not kept for the next user, so that a use after its end is seen.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define LT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LT_ASAN 1
#endif
#endif
#ifndef LT_ASAN
#define LT_ASAN 0
#endif
