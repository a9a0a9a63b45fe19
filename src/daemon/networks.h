/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks, as objects. */
#ifndef LODGE_DAEMON_NETWORKS_H
#define LODGE_DAEMON_NETWORKS_H

#include "daemon/kept.h"

/* All of them: the one that is part of Lodge, and those that are defined. */
struct keeper *networks_open(struct daemon *daemon, GError **error);

#endif
