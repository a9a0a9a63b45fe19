/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fw_cfg.c offers to those who put files into it. */
#ifndef LODGE_DEVICE_CHIPSET_FW_CFG_H
#define LODGE_DEVICE_CHIPSET_FW_CFG_H

#include "machine/device.h"

#define FW_CFG_NAME_MAX   55 /* of a file, without its NUL */
#define FW_CFG_FILES_MAX  64
#define FW_CFG_FILE_BYTES MIB

/* In realize: adds a file to the machine's fw_cfg; takes over @content (freed with g_bytes_unref).
 * -errno with @error set if it has that name already or is full. */
int fw_cfg_add_file(struct vm *vm, const char *name, GBytes *content, GError **error);

#endif
