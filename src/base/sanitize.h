/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SANITIZED: 1 in a build with AddressSanitizer, by gcc or clang, else 0.
 */
#ifndef LODGE_BASE_SANITIZE_H
#define LODGE_BASE_SANITIZE_H

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
