/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices of the host, as the kernel shows them in /sys: which there are, what each sits behind,
 * and their XML. They are looked up anew for each question; nothing of them is kept or changed.
 */
#ifndef LODGE_DAEMON_NODEDEV_H
#define LODGE_DAEMON_NODEDEV_H

#include "base/types.h"

#include <glib.h>

#define NODEDEV_SYS "/sys"

struct nodedev_kind;

struct nodedev {
	const struct nodedev_kind *kind;
	char *name;   /* as clients know it, as pci_0000_00_02_0 */
	char *path;   /* its folder, where no link leads elsewhere; NULL: it is the whole host */
	char *parent; /* the name of what it sits behind; NULL: nothing */
};

/* All below @sys, the host itself first; the caller unrefs the array. */
GPtrArray *nodedev_all(const char *sys);
/* One of them by its name, or NULL. */
const struct nodedev *nodedev_find(const GPtrArray *all, const char *name);
/* What it is called by, as "pci"; and the flag of a list, VIR_CONNECT_LIST_NODE_DEVICES_CAP_*. */
const char *nodedev_capability(const struct nodedev *device);
u32 nodedev_flag(const struct nodedev *device);
/* The flag of a capability of that name, 0: there is none such here. */
u32 nodedev_flag_of(const char *capability);
/* The caller frees it. */
char *nodedev_xml(const struct nodedev *device);

/* The first line of a file in a folder, or NULL; the caller frees it. */
char *nodedev_line(const char *folder, const char *file);

#endif
