/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unpacking of compressed kernels: the formats a bzImage payload may have.
 */
#ifndef LODGE_MACHINE_BOOT_UNPACK_H
#define LODGE_MACHINE_BOOT_UNPACK_H

#include "base/types.h"
#include <glib.h>

/* Unpacks @in, whatever format it begins with, into @out, which has room for @room bytes; an ELF
 * file is taken as it is. *@bytes is what came out. The input may be followed by other bytes.
 * -EINVAL, -ENOTSUP, -ENOMEM or -ENOSPC with @error set. */
int unpack(const u8 *in, u64 in_bytes, u8 *out, u64 room, u64 *bytes, GError **error);

#endif
